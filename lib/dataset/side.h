/*
 * One side of a comparison: the committed records of a view as of when the side was made, read without its inode cache. A snapshot taken
 * or a rollback made meanwhile changes nothing of what it sees; changes of a head in its open epoch do show. Internal to lib/dataset.
 *
 * The view stays open as long as the side. Errors: -EIO for what is damaged. A side belongs to one thread.
 */
#ifndef CORPUSFS_DATASET_SIDE_H
#define CORPUSFS_DATASET_SIDE_H

#include "lib/dataset/store.h"

struct side {
	struct store *store;
	struct view *view;
	uint32_t family;
	struct line line; /* owned */
};

void side_init(struct side *side, struct store *store, struct view *view);
void side_clear(struct side *side);

struct side_inode {
	uint64_t ino, epoch;
	struct inode_record record; /* data points into value */
	struct buf value;
};
void side_inode_clear(struct side_inode *inode);
/* -ENOENT: there is none, or it has no name left. */
WARN_UNUSED int side_inode(const struct side *side, uint64_t ino, struct side_inode *ret_inode);
struct attr side_attr(const struct side_inode *inode);

/* -ENOENT */
WARN_UNUSED int side_entry(const struct side *side, uint64_t dir, const char *name, struct entry_record *ret_entry);

/* In byte order; stops when the callback returns not 0, and returns that. */
typedef int (*side_entry_fn)(void *arg, const char *name, const struct entry_record *entry);
WARN_UNUSED int side_each_entry(const struct side *side, uint64_t dir, side_entry_fn each, void *arg);

/* The same as an array. */
struct side_name {
	const char *name; /* in `names` */
	uint64_t ino;
	uint8_t type;
};
struct side_list {
	struct side_name *items;
	size_t count, cap;
	struct buf names;
};
void side_list_clear(struct side_list *list);
WARN_UNUSED int side_list(const struct side *side, uint64_t dir, struct side_list *ret_list);

/* All extended attributes in one piece that is equal where they are equal. */
WARN_UNUSED int side_xattrs(const struct side *side, uint64_t ino, struct buf *packed);

struct side_extents {
	struct extent *items;
	size_t count, cap;
};
WARN_UNUSED int side_extents(const struct side *side, uint64_t ino, struct side_extents *extents); /* free items afterwards */

#endif
