/*
 * Buffered content of one file: sorted, disjoint segments of bytes by file offset. Internal to lib/tree; the inode's lock guards it.
 * A sequential writer fills segments of up to DIRTY_SEGMENT_MAX; adjacent ones are cut as one run by the committer.
 */
#ifndef CORPUSFS_TREE_CONTENT_DIRTY_H
#define CORPUSFS_TREE_CONTENT_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/array.h"
#include "lib/tree/inodes/block_pool.h"
#include "lib/tree/inodes/journal.h"

#define DIRTY_SEGMENT_MAX BLOCK_BYTES

struct segment {
	uint64_t offset;
	size_t len, cap;
	uint8_t *data; /* a block of the pool when cap is DIRTY_SEGMENT_MAX */
};

struct dirty {
	struct block_pool *pool; /* where big segments come from; NULL: malloc */
	ARRAY(struct segment) segments; /* sorted by offset */
	uint64_t bytes; /* sum of len */
	struct journal *journal; /* of the records; NULL: there are none */
	ARRAY(struct journal_record *) records; /* the changes that are in here, in their order */
	uint64_t record_bytes; /* sum of their sizes */
};

void dirty_clear(struct dirty *dirty); /* the pool stays set; forgets the records */
/* Takes over a counted record; its change is made already or at once. */
void dirty_add_record(struct dirty *dirty, struct journal *journal, struct journal_record *record);
void dirty_forget_last(struct dirty *dirty); /* the record that was added last: its change was not made after all */
void dirty_keep_last(struct dirty *dirty); /* its change was made: what it makes needless of the records right before it is forgotten (J5 in journal.h) */
void dirty_forget_records(struct dirty *dirty); /* all changes are committed (J2 in journal.h) */
void dirty_move_records_apart(struct dirty *dirty); /* see journal_move_apart */
/* Overwrites [offset, offset+len); returns how many bytes the total grew by, or -ENOMEM with nothing changed. */
WARN_UNUSED int64_t dirty_write(struct dirty *dirty, uint64_t offset, const void *data, size_t len);
/* The same with the first `len` bytes of a block of the pool, which is taken over in any case. */
WARN_UNUSED int64_t dirty_write_block(struct dirty *dirty, uint64_t offset, void *block, size_t len);
/* Forgets [offset, end); returns how many bytes the total shrank by. */
uint64_t dirty_discard(struct dirty *dirty, uint64_t offset, uint64_t end);
/* Copies what is buffered of [offset, offset+len) over `out`. */
void dirty_overlay(const struct dirty *dirty, uint64_t offset, size_t len, void *out);
bool dirty_overlaps(const struct dirty *dirty, uint64_t offset, size_t len);
/* Whether all of the range is buffered: then the disk need not be asked. */
bool dirty_covers(const struct dirty *dirty, uint64_t offset, size_t len);
struct range {
	uint64_t first, end;
};
struct ranges {
	ARRAY_FIELDS(struct range);
};
/* Adds the parts of [offset, end) that are not buffered. */
void dirty_gaps(const struct dirty *dirty, uint64_t offset, uint64_t end, struct ranges *gaps);
/* Puts `below` under `dirty`: its bytes stay where `dirty` has none. `below` is empty afterwards. For a failed commit. */
void dirty_merge_below(struct dirty *dirty, struct dirty *below);

#endif
