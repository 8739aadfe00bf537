/* CRC-32C (Castagnoli), the checksum of RocksDB's logs. Any thread. */
#ifndef CORPUSFS_BASE_CRC32C_H
#define CORPUSFS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of `len` more bytes after those that `crc` is of; 0 at the beginning. */
uint32_t crc32c_add(uint32_t crc, const void *data, size_t len);

#endif
