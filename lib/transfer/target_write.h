/*
 * One thing of the view, written into a directory of the target: under a temporary name, which gives way to the real one when all of it is
 * there. A file under its own name is complete.
 *
 * Threads: any; the directory is held by the caller.
 */
#ifndef CORPUSFS_TRANSFER_TARGET_WRITE_H
#define CORPUSFS_TRANSFER_TARGET_WRITE_H

#include "lib/transfer/target_dir.h"

/* So much room for a temporary name. */
#define TARGET_TEMPORARY_MAX 64

/*
 * 0; -EAGAIN: it changed while it was read, and was not written; others: it was not written. What the target did not keep was told as a
 * problem. A failure of the target itself has ended the export.
 */
WARN_UNUSED int target_write(struct target_dirs *dirs, struct target_dir *dir, const char *name, uint64_t ino, uint8_t *piece);

/* What is under that name is what would be written, as far as size, time and target tell. Only where the directory existed before. */
bool target_is_there(struct target_dirs *dirs, struct target_dir *dir, const char *name, const struct attr *attr);

/*
 * A temporary name for the inode that is no name of the view's directory, nor there any more.
 */
void target_temporary(struct target_dirs *dirs, struct target_dir *dir, uint64_t ino, char ret_name[TARGET_TEMPORARY_MAX]);
bool target_is_temporary(const char *name);
/* Gives what is called `temporary` its name. With the user's rights, between impersonate_begin and impersonate_end. */
WARN_UNUSED int target_rename(const struct target_dir *dir, const char *temporary, const char *name);

#endif
