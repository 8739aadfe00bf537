/*
 * Directories that nobody else can replace.
 *
 * Root opens files by name in a directory that somebody named. If another user can write in that directory, or in one above it, that
 * user can put a symbolic link or another file in the place of each of them, and root would overwrite whatever it points to. So root
 * opens such a directory only when each directory on the way belongs to root and is writable for root only. A directory in which many
 * may write, but each only what is his (mode 1777), is good enough on the way, not at its end. A symbolic link on the way counts like a
 * directory: whose it is. A FUSE filesystem says itself whose its files are, so the way leads through none that another user has mounted.
 *
 * Users other than root are not checked: they risk only what is their own.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_BASE_TRUSTED_H
#define CORPUSFS_BASE_TRUSTED_H

#include <stdbool.h>
#include <sys/stat.h>

#include "lib/base/error.h"

/* Opens the directory for reading. -EPERM: others can write there, err says who and where; else the errno of open(2), err not set. */
WARN_UNUSED int trusted_open(const char *path, int *ret_fd, struct error *err);

/* Whether root may rely on a file of this owner: always true for users other than root. */
bool trusted_owner(uid_t uid);

#endif
