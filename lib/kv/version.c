#include "lib/kv/version.h"

const char *kv_library_version(void)
{
	return ROCKSDB_VERSION;
}
