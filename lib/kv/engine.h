/* Which RocksDB this program was built with. Any thread. */
#ifndef CORPUSFS_KV_ENGINE_H
#define CORPUSFS_KV_ENGINE_H

const char *kv_library_version(void);

#endif
