/*
 * Files that come in whole, for import: past the inode cache and the write buffer, their content, records and names written together, so
 * that a file is there with all that belongs to it or not at all.
 *
 * Threads: any. Errors: as tree.h.
 */
#ifndef CORPUSFS_TREE_FILES_BULK_H
#define CORPUSFS_TREE_FILES_BULK_H

#include "lib/tree/files/files.h"

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

#endif
