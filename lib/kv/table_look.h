/*
 * A table file taken apart, block by block, past RocksDB: which blocks are whole, and between which keys what is not whole lies. RocksDB's
 * word on a damaged table is one error; but each block has its own checksum, and all others are good.
 *
 *   table  = data block* | meta blocks (filter, properties, ranges that were removed) and the index, in any order | metaindex | footer
 *   footer = where metaindex and index are (table_footer.h)
 *   index  = for each data block: a key not less than its last one and less than the next block's first, and its handle
 *
 * Where footer, metaindex or index are damaged, or the file ends early, the blocks are found from the front: each begins where the one
 * before it ends, and ends where its checksum is right.
 *
 * Only tables as we make them: format 5, XXH3. Internal to lib/kv; one thread.
 */
#ifndef CORPUSFS_KV_TABLE_LOOK_H
#define CORPUSFS_KV_TABLE_LOOK_H

#include "lib/base/array.h"
#include "lib/kv/table_footer.h"

struct table_part {
	struct block_handle handle;
	struct buf key; /* as in the index */
	bool whole;
};

struct table_meta {
	char *name;
	struct block_handle handle;
	bool whole;
};

struct table_look {
	uint64_t bytes; /* that the file should have */
	uint64_t data_end;
	bool indexed;   /* false: found from the front, and nothing is known of what comes after the last part */
	bool user_keys; /* in the index: without sequence number and type */
	bool named;     /* its properties say who made it */
	bool packed;    /* blocks may be; else RocksDB takes all as they are */
	bool sound;     /* all of it is whole, and it says who made it */
	ARRAY(struct table_part) parts;
	ARRAY(struct table_meta) metas;
};

/*
 * `fd` -1: there is no such file; it may be open with O_DIRECT. `step` is told how many bytes were read since, now and then; not 0 ends it
 * with that. May be NULL.
 * -ENOTSUP: it is no table of ours; -EIO only when nothing of it can be read.
 */
WARN_UNUSED int table_look(int fd, uint64_t bytes, int (*step)(void *arg, uint64_t bytes), void *arg, struct table_look *ret_look);
void table_look_clear(struct table_look *look);

/* The user's key of part `number`. */
void table_look_key(const struct table_look *look, size_t number, const uint8_t **ret_key, size_t *ret_len);

#endif
