/*
 * The content of open files: reading, writing, and changes of what is allocated. An inode is opened and closed by files.h.
 *
 * Errors: as files.h. Threads: any.
 */
#ifndef CORPUSFS_TREE_CONTENT_FILE_H
#define CORPUSFS_TREE_CONTENT_FILE_H

#include <sys/types.h>

#include "lib/tree/content/tree.h"
#include "lib/tree/records/attr.h"

struct inode;

uint64_t inode_ino(const struct inode *inode);
struct view *inode_view(const struct inode *inode);
void inode_attr(struct inode *inode, struct attr *ret_attr);

/* Bytes read (less than len only at the end of the file), or -EIO. Holes are zeros. */
WARN_UNUSED ssize_t inode_read(struct inode *inode, uint64_t offset, size_t len, void *out);
/* For who is about to read all of a file: the disk begins, if it can and the file is neither too small nor too large. Returns at once;
 * failures show when it is read. */
void inode_begin_read(struct inode *inode);

#define WRITE_KILL_PRIV 1U /* as SET_KILL_PRIV */
#define WRITE_OUTSIDER 2U  /* as SET_OUTSIDER */
#define WRITE_KEEP 4U      /* it survives the process, where the tree has a journal */
#define WRITE_PAGES 8U     /* what the kernel writes back of a mapped file: it was stored before (view_set_end) */
/* Accepts all of it or nothing. Waits (bounded by the disk's speed) while the write buffer budget is used up. */
WARN_UNUSED int inode_write(struct inode *inode, uint64_t offset, const void *data, size_t len, unsigned flags);

/* mode: FALLOC_FL_* (allocate, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]); others -EOPNOTSUPP. */
WARN_UNUSED int inode_allocate(struct inode *inode, int mode, uint64_t offset, uint64_t len);

/* SEEK_DATA or SEEK_HOLE, after committing what this inode has buffered; -ENXIO beyond the end. */
WARN_UNUSED int inode_seek(struct inode *inode, uint64_t offset, int whence, uint64_t *ret_offset);

/* Shares the extents of what is copied (also between views of one store); returns the bytes copied, 0 at the end of the source. */
WARN_UNUSED ssize_t inode_copy(struct inode *source, uint64_t source_offset, struct inode *target, uint64_t target_offset, uint64_t len);

/* For who goes by a file's extents: 0 if its gaps are holes, -EIO if an extent is missing. */
WARN_UNUSED int view_check_holes(struct view *view, uint64_t ino);

WARN_UNUSED int inode_commit(struct inode *inode); /* buffered content becomes extents, not yet synced */
WARN_UNUSED int inode_sync(struct inode *inode);   /* and is on disk */

/*
 * Content of a big file goes into the write buffer without being copied. The caller takes a block, fills it and writes it; then the block
 * belongs to the buffer, also on failure. Taking a block waits for room in the buffer, and for the committer when that is far behind. A thread
 * that waits for a block may hold none.
 */
#define BULK_BLOCK (8U << 20)
WARN_UNUSED int bulk_block_take(struct inode *inode, void **ret_block);
void bulk_block_drop(struct inode *inode, void *block); /* one that is not to be written */
WARN_UNUSED int bulk_block_write(struct inode *inode, uint64_t offset, void *block, size_t len); /* as inode_write */

/* Accounts memory that a caller holds for view_add_files to the write buffer's budget; waits for room. */
WARN_UNUSED int bulk_reserve(struct view *view, size_t bytes);
void bulk_release(struct view *view, size_t bytes);
uint64_t bulk_budget(struct view *view); /* of the write buffer, all together */

#endif
