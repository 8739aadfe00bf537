/*
 * Files that come in whole, for import: past the inode cache and the write buffer, their content, records and names written together, so
 * that a file is there with all that belongs to it or not at all.
 *
 * Threads: any. Errors: as tree.h.
 */
#ifndef CORPUSFS_TREE_CONTENT_BULK_H
#define CORPUSFS_TREE_CONTENT_BULK_H

#include "lib/tree/records/tree.h"

struct bulk_file {
	uint64_t dir;
	const char *name;
	struct create create; /* no directory; the mode has the file type */
	struct timespec atime, mtime;
	const void *data; /* of a regular file: the whole content, without holes */
	size_t len;
	bool replace; /* a file of this name gives way; a directory never does (-EISDIR) */

	int result; /* set by view_add_files; -EEXIST: the name is taken, or stands in `files` before */
	uint64_t ino;
	uint64_t replaced; /* the inode that gave way, which may have other names; 0: none */
};

/*
 * Adds new files, each wholly or not at all. Whatever fails for a single one is told in its `result`; what is returned concerns all that
 * have none (result 0 only if it was added): -ENOSPC, -ESTALE, -EROFS, -EIO.
 */
WARN_UNUSED int view_add_files(struct view *view, struct bulk_file *files, size_t count);

/* As view_link, but what has the name gives way in the same instant; ret_replaced as above. The file's content must have been committed.
 * -EISDIR. */
WARN_UNUSED int view_link_over(struct view *view, uint64_t ino, uint64_t dir, const char *name, uint64_t *ret_replaced);

/*
 * Content of a big file on its way into the write buffer without being copied: a block is taken (which waits for room in the buffer,
 * and for the committer when that is far behind), filled by the caller, and written: then it is the buffer's, also on failure. A thread that
 * waits for a block may hold none.
 */
#define BULK_BLOCK (8U << 20)
WARN_UNUSED int bulk_block_take(struct inode *inode, void **ret_block);
void bulk_block_drop(struct inode *inode, void *block); /* one that is not to be written */
WARN_UNUSED int bulk_block_write(struct inode *inode, uint64_t offset, void *block, size_t len); /* as inode_write */

/* Accounts memory that a caller holds for view_add_files to the write buffer's budget; waits for room. */
WARN_UNUSED int bulk_reserve(struct view *view, size_t bytes);
void bulk_release(struct view *view, size_t bytes);
uint64_t bulk_budget(struct view *view); /* of the write buffer, all together */

/* Inodes that are made from now on have this number or a higher one, those that are there have lower ones. */
WARN_UNUSED int view_first_new_ino(struct view *view, uint64_t *ret_ino);

#endif
