/*
 * Writes a table file that RocksDB takes in: a block-based table, format 5, without compression and filter, with one value to a block, as
 * rocksdb/sst_file_writer.h makes it of large values. RocksDB's own writer copies each byte three times and writes through the page cache;
 * this one copies it once and writes past it (lib/base/direct_file.h).
 *
 *   block      = shared 0 varint | length of the key varint | length of the value varint | key | value | restarts: 0 u32 LE, 1 u32 LE
 *   each block is followed by its type, 0 u8, and its checksum, the lower half of its XXH3 u32 LE
 *   table      = block* | index block | properties block | metaindex block | footer
 *   index      = for each block its key, and where it lies: offset and length varint, or how much longer it is than the one before
 *                (zigzag varint), when the key begins as the one before does; each sixteenth entry is a restart
 *   footer     = where metaindex and index are (table_footer.h)
 *
 * A key within a block has 8 bytes more than outside: sequence << 8 | type, u64 LE, which are 0 and 1 here. RocksDB gives the file the
 * sequence that it needs. Properties are names with numbers (varint) or texts, in order.
 *
 *   table_writer_new -> table_writer_put* (keys ascend: -EINVAL) -> table_writer_finish -> table_writer_free
 *
 * Returns negative errno. One thread at a time.
 */
#ifndef CORPUSFS_KV_TABLE_WRITER_H
#define CORPUSFS_KV_TABLE_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct table_writer;

WARN_UNUSED int table_writer_new(const char *path, struct table_writer **ret_writer);
/* The value is the head and what follows it. */
WARN_UNUSED int table_writer_put(struct table_writer *writer, const void *key, size_t key_len, const void *head, size_t head_len,
				 const void *tail, size_t tail_len);
WARN_UNUSED int table_writer_finish(struct table_writer *writer); /* the table is on the disk */
uint64_t table_writer_count(const struct table_writer *writer);   /* of values */
void table_writer_free(struct table_writer *writer);              /* the file stays. NULL is fine */

#endif
