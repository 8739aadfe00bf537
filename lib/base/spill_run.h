/*
 * A sorted run of items in a file: written once from beginning to end, then read. Internal to lib/base/spill.c.
 *
 *   item    key length u32 | value length u32 | key | value     little-endian
 *   block   as many items as begin within RUN_BLOCK bytes; the key that begins each block is kept in memory
 */
#ifndef CORPUSFS_BASE_SPILL_RUN_H
#define CORPUSFS_BASE_SPILL_RUN_H

#include "lib/base/array.h"
#include "lib/base/spill.h"

#define RUN_BLOCK (16U << 10)
#define ITEM_HEAD 8 /* bytes before the key */
#define ITEM_MAX (1U << 20)

struct run_block {
	uint64_t offset; /* in the file */
	size_t key_at;   /* in `keys` */
	uint32_t key_len;
};

struct run {
	int fd; /* the map's */
	uint64_t offset, end; /* in the file */
	unsigned level;       /* how many times its items were merged */
	ARRAY(struct run_block) blocks;
	struct buf keys;
};

void run_clear(struct run *run);

int item_compare(const struct spill_item *a, const struct spill_item *b); /* by keys */
void item_add(struct buf *out, const struct spill_item *item);
/* 1 and the item at `at`, 0 when it is not there whole. */
int item_at(const uint8_t *at, size_t left, struct spill_item *ret_item);

/* Writing: items in order. */
struct run_writer {
	struct run run;
	struct buf buf; /* not written yet */
	uint64_t block_end;
};
void run_writer_init(struct run_writer *writer, int fd, uint64_t offset, unsigned level);
WARN_UNUSED int run_writer_add(struct run_writer *writer, const struct spill_item *item);
WARN_UNUSED int run_writer_end(struct run_writer *writer, struct run *ret_run); /* clears the writer, also on failure */
void run_writer_clear(struct run_writer *writer);

/* Reading. -ENOENT; -EIO when the file is shorter than it was. */
WARN_UNUSED int run_get(const struct run *run, const void *key, size_t key_len, struct buf *value);

struct run_reader {
	const struct run *run;
	uint64_t next; /* what comes into the buffer next */
	struct buf buf;
	size_t at;
};
void run_reader_init(struct run_reader *reader, const struct run *run);
WARN_UNUSED int run_reader_next(struct run_reader *reader, struct spill_item *ret_item); /* 1, 0 at the end; valid until the next call */
void run_reader_clear(struct run_reader *reader);

#endif
