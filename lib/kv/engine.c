#include "lib/kv/engine.h"

const char *kv_library_version(void)
{
	return ROCKSDB_VERSION;
}
