/*
 * One side of a comparison: the committed records of a view as of when the side was made, read without its inode cache. A snapshot taken
 * or a rollback made meanwhile changes nothing of what it sees; changes of a head in its open epoch do show. Internal to lib/history.
 *
 * The view stays open as long as the side. Errors: -EIO for what is damaged. A side belongs to one thread.
 */
#ifndef CORPUSFS_HISTORY_VIEW_READER_H
#define CORPUSFS_HISTORY_VIEW_READER_H

#include "lib/store/store.h"

struct view_reader {
	struct store *store;
	struct view *view;
	uint32_t family;
	struct line line; /* owned */
};

void reader_init(struct view_reader *side, struct store *store, struct view *view);
void reader_clear(struct view_reader *side);

struct reader_inode {
	uint64_t ino, epoch;
	struct inode_record record; /* data points into value */
	struct buf value;
};
void reader_inode_clear(struct reader_inode *inode);
/* -ENOENT: there is none, or it has no name left. */
WARN_UNUSED int reader_inode(const struct view_reader *side, uint64_t ino, struct reader_inode *ret_inode);
struct attr reader_attr(const struct reader_inode *inode);

/* -ENOENT */
WARN_UNUSED int reader_entry(const struct view_reader *side, uint64_t dir, const char *name, struct entry_record *ret_entry);

/* In byte order; stops when the callback returns not 0, and returns that. */
typedef int (*reader_entry_fn)(void *arg, const char *name, const struct entry_record *entry);
WARN_UNUSED int reader_each_entry(const struct view_reader *side, uint64_t dir, reader_entry_fn each, void *arg);

/* The same as an array. */
struct reader_name {
	const char *name; /* in `names` */
	uint64_t ino;
	uint8_t type;
};
struct reader_list {
	struct reader_name *items;
	size_t count, cap;
	struct buf names;
};
void reader_list_clear(struct reader_list *list);
WARN_UNUSED int reader_list(const struct view_reader *side, uint64_t dir, struct reader_list *ret_list);

/* All extended attributes in one piece that is equal where they are equal. */
WARN_UNUSED int reader_xattrs(const struct view_reader *side, uint64_t ino, struct buf *packed);

struct reader_extents {
	struct extent *items;
	size_t count, cap;
};
WARN_UNUSED int reader_extents(const struct view_reader *side, uint64_t ino, struct reader_extents *extents); /* free items afterwards */

#endif
