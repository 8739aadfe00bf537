/*
 * One view's files, by inode number: what a filesystem asks for, each change one atomic write batch.
 *
 * Namespace operations take inode numbers and names; open files are struct inode, counted. Permission is not checked here: the kernel
 * does it (default_permissions), and commands act as the store's owner. Everything that changes answers -EROFS on a read-only view.
 *
 * Errors: -ENOENT, -EEXIST, -ENOTDIR, -EISDIR, -ENOTEMPTY, -ENAMETOOLONG, -EINVAL, -EMLINK, -ENOSPC, -ENODATA (xattr), -E2BIG,
 * -EFBIG, -EIO (damaged or unreadable), as POSIX has them. -ESTALE for an inode that is not in the view.
 *
 * Threads: any. See view.h for the locks.
 */
#ifndef CORPUSFS_TREE_FILES_FILES_H
#define CORPUSFS_TREE_FILES_FILES_H

#include "lib/tree/content/file.h"

/* --- names --- */

WARN_UNUSED int view_lookup(struct view *view, uint64_t dir, const char *name, struct attr *ret_attr); /* "." and ".." too */
/* What the name alone says: of a file that view_lookup cannot read. The type is one of DT_REG... */
WARN_UNUSED int view_name_type(struct view *view, uint64_t dir, const char *name, uint64_t *ret_ino, uint8_t *ret_type);

struct xattr_init {
	const char *name;
	const void *value;
	size_t len;
};

struct create {
	uint32_t mode; /* with the file type; set-gid inheritance and umask are already applied by the caller */
	uint32_t uid, gid;
	uint64_t rdev;
	const char *target;              /* symlinks */
	const struct xattr_init *xattrs; /* e.g. inherited ACLs */
	size_t xattr_count;
};

/* name NULL: an unnamed file (O_TMPFILE) with nlink 0, returned open; link it later with view_link. */
WARN_UNUSED int view_create(struct view *view, uint64_t dir, const char *name, const struct create *create, struct attr *ret_attr,
			    struct inode **ret_opened); /* ret_opened may be NULL, else the new file is returned open */
WARN_UNUSED int view_link(struct view *view, uint64_t ino, uint64_t dir, const char *name, struct attr *ret_attr);
/* Also of a file that is damaged, however much of it can be read. */
WARN_UNUSED int view_unlink(struct view *view, uint64_t dir, const char *name);
WARN_UNUSED int view_rmdir(struct view *view, uint64_t dir, const char *name);
/* One of these two. *ret_left: what had the name, and is left because it has others; or 0. */
WARN_UNUSED int view_remove(struct view *view, uint64_t dir, const char *name, bool want_dir, uint64_t *ret_left);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE. A regular file's content is committed before its name replaces another. */
WARN_UNUSED int view_rename(struct view *view, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name, unsigned flags);
struct renamed {
	uint64_t moved, left; /* `left` was replaced and has other names, or was exchanged with it. 0: nothing */
};
/* The same; says what it was. Untouched when both names are of one file. */
WARN_UNUSED int view_rename_told(struct view *view, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name, unsigned flags,
				 struct renamed *ret_renamed);
WARN_UNUSED int view_readlink(struct view *view, uint64_t ino, struct buf *target); /* a NUL follows the text */

/* Calls back for each entry with name > `after` ("" for all), in byte order, without "." and ".."; stops when the callback returns not 0. */
typedef int (*view_entry_fn)(void *arg, const char *name, uint64_t ino, uint8_t type);
WARN_UNUSED int view_list(struct view *view, uint64_t dir, const char *after, view_entry_fn each, void *arg);
WARN_UNUSED int view_parent(struct view *view, uint64_t dir, uint64_t *ret_parent);

/* Resolves a relative path "a/b/c" ("" is the root), without following symlinks. */
WARN_UNUSED int view_resolve(struct view *view, const char *path, struct attr *ret_attr);

/* --- attributes --- */

WARN_UNUSED int view_getattr(struct view *view, uint64_t ino, struct attr *ret_attr);
/* The same, also of an inode that was removed, with nlink 0, as long as the cache of inodes remembers it: somebody may stand in a directory,
 * or have a fifo open, without an inode_open. view_setattr changes what is remembered. */
WARN_UNUSED int view_getattr_removed(struct view *view, uint64_t ino, struct attr *ret_attr);

/*
 * view_getattr of many inodes, by ascending number, [first, last], as listing a directory wants it: those that are not in memory are read
 * in one pass and do not stay there. For one thread, for a short time.
 */
struct attr_scan;
struct attr_scan *attr_scan_new(struct view *view, uint64_t first, uint64_t last);
void attr_scan_free(struct attr_scan *scan); /* NULL is fine */
WARN_UNUSED int attr_scan_get(struct attr_scan *scan, uint64_t ino, struct attr *ret_attr);

#define SET_MODE (1U << 0)
#define SET_UID (1U << 1)
#define SET_GID (1U << 2)
#define SET_SIZE (1U << 3)
#define SET_ATIME (1U << 4)
#define SET_MTIME (1U << 5)
#define SET_KILL_PRIV (1U << 6) /* clear set-id bits and security.capability, as a write by an ordinary user does */
#define SET_OUTSIDER (1U << 7) /* the user is not in the file's group: set-gid falls with the rest even if the group may not execute it */

struct setattr {
	unsigned mask;
	uint32_t mode, uid, gid;
	uint64_t size;
	struct timespec atime, mtime;
};

/* Sets ctime to now; mtime too when the size is set. Keeps the access ACL in step with the mode. */
WARN_UNUSED int view_setattr(struct view *view, uint64_t ino, const struct setattr *change, struct attr *ret_attr);

#define XATTR_SET_CREATE 1U
#define XATTR_SET_REPLACE 2U
#define XATTR_SET_KILL_SGID 4U /* for ACLs: clear set-gid */
WARN_UNUSED int view_xattr_get(struct view *view, uint64_t ino, const char *name, struct buf *value);
WARN_UNUSED int view_xattr_set(struct view *view, uint64_t ino, const char *name, const void *value, size_t len, unsigned flags);
WARN_UNUSED int view_xattr_remove(struct view *view, uint64_t ino, const char *name);
WARN_UNUSED int view_xattr_list(struct view *view, uint64_t ino, struct buf *names); /* each with its NUL */

/* --- open files --- */

/* An open inode outlives its last name; its content goes with the last inode_close. Directories may be opened too. */
WARN_UNUSED int inode_open(struct view *view, uint64_t ino, struct inode **ret_inode);
void inode_close(struct inode *inode);
/* What a process that died had open, before orphans are reaped: it may have lost its last name. */
WARN_UNUSED int inode_open_again(struct view *view, uint64_t ino, struct inode **ret_inode);

/* Empties inodes that were unlinked while open when the store was last closed or killed; continues big removals. */
WARN_UNUSED int view_reap_orphans(struct view *view);

#endif
