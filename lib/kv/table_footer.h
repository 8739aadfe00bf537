/*
 * The end of a table file (format.cc of RocksDB):
 *
 *   footer = checksum type u8 | metaindex: handle | index: handle | zeros up to 41 | version u32 LE | magic u64 LE; 53 bytes
 *
 * Only of tables as we make them: format 5, XXH3. Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_TABLE_FOOTER_H
#define CORPUSFS_KV_TABLE_FOOTER_H

#include "lib/kv/table_block.h"

#define TABLE_FOOTER 53U

struct table_footer {
	struct block_handle metaindex, index;
};

void table_footer_add(struct buf *out, const struct table_footer *footer);
/* 1: it is there; 0: it is damaged; -ENOTSUP: it is of another format. */
WARN_UNUSED int table_footer_read(const uint8_t bytes[TABLE_FOOTER], struct table_footer *ret_footer);

#endif
