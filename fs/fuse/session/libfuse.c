#include "fs/fuse/session/libfuse.h"

#include <fuse_lowlevel.h>

const char *fuse_library_version(void)
{
	return fuse_pkgversion();
}
