/*
 * Reading committed records, for the rooms above lib/tree: what a line sees of inodes, names, attributes and extents. A scan goes past the
 * cache of inodes and knows nothing of buffered writes.
 *
 *   scan_of_line   The scan always sees the same, unless somebody prunes what the line sees. Nobody does while the view is open or the
 *                  snapshot lives. A caller who does not see to that looks afterwards whether the snapshot is still there.
 *   scan_of_view   The caller keeps the view open as long as the scan. Each call takes the line that the view has at that moment, so a scan
 *                  of a head follows it into new epochs. `line` stays as it was at the beginning.
 *
 * Each call sees the database as it was at one moment. Errors: -EIO for what is damaged. Any thread; one scan may serve several at a time.
 */
#ifndef CORPUSFS_TREE_RECORDS_SCAN_H
#define CORPUSFS_TREE_RECORDS_SCAN_H

#include "lib/base/array.h"
#include "lib/tree/records/attr.h"
#include "lib/tree/records/extent.h"
#include "lib/tree/records/view.h"

struct scan {
	struct tree *tree;
	struct view *view; /* or NULL */
	uint32_t family;
	struct line line; /* owned */
};

void scan_of_view(struct scan *scan, struct view *view);
void scan_of_line(struct scan *scan, struct tree *tree, uint32_t family, const struct line *line);
void scan_clear(struct scan *scan);

struct scan_inode {
	uint64_t ino, epoch; /* epoch: in which the record was written */
	struct inode_record record; /* data points into value */
	struct buf value;
};
void scan_inode_clear(struct scan_inode *inode);
struct attr scan_attr(const struct scan_inode *inode);
/* -ENOENT: there is none. The record may be of an inode without a name (nlink 0), which somebody has open. */
WARN_UNUSED int scan_inode(const struct scan *scan, uint64_t ino, struct scan_inode *ret_inode);
/* The same; -ENOENT also when it has no name. */
WARN_UNUSED int scan_named_inode(const struct scan *scan, uint64_t ino, struct scan_inode *ret_inode);

/* The epoch of the version that is seen under a stem. -ENOENT */
WARN_UNUSED int scan_epoch(const struct scan *scan, const struct tree_key *stem, uint64_t *ret_epoch);

/* -ENOENT */
WARN_UNUSED int scan_entry(const struct scan *scan, uint64_t dir, const char *name, struct entry_record *ret_entry);

/* Entries with names behind `after` ("": all), in byte order; stops when the callback returns not 0, and returns that. */
typedef int (*scan_entry_fn)(void *arg, const char *name, const struct entry_record *entry);
WARN_UNUSED int scan_entries(const struct scan *scan, uint64_t dir, const char *after, scan_entry_fn each, void *arg);

/* All entries as an array. */
struct scan_name {
	const char *name; /* in `names` */
	uint64_t ino;
	uint8_t type;
};
struct scan_list {
	ARRAY_FIELDS(struct scan_name);
	struct buf names;
};
void scan_list_clear(struct scan_list *list);
WARN_UNUSED int scan_list(const struct scan *scan, uint64_t dir, struct scan_list *ret_list);

/* All extended attributes in one piece of bytes, which is equal where the attributes are equal. */
WARN_UNUSED int scan_xattrs(const struct scan *scan, uint64_t ino, struct buf *packed);

/*
 * The content of a file whose record has is_inline. -EAGAIN: the scan is of a head, which has written to the file since its record was read.
 * Where that is not noticed, the content is the newer one.
 */
WARN_UNUSED int scan_inline(const struct scan *scan, const struct scan_inode *inode, struct buf *ret_content);

/*
 * Whether what no extent of the file covers is a hole, which it is if nothing of what was stored is missing (I9). -EIO: something is; -EAGAIN: as above.
 * Not for inline content. cancelled: asked often, may be NULL; -ECANCELED.
 */
WARN_UNUSED int scan_check_holes(const struct scan *scan, const struct scan_inode *inode, bool (*cancelled)(void *arg), void *arg);

/* Extents by ascending offset, from those that begin at `from` on; stops when the callback returns not 0, and returns that. */
WARN_UNUSED int scan_extents_from(const struct scan *scan, uint64_t ino, uint64_t from, inode_extent_fn each, void *arg);
WARN_UNUSED int scan_extents(const struct scan *scan, uint64_t ino, inode_extent_fn each, void *arg); /* all */

#endif
