/* Which mounts there are, from /proc/self/mountinfo, and which store they belong to. */
#ifndef CORPUSFS_CLI_WHERE_H
#define CORPUSFS_CLI_WHERE_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/base/error.h"

#define WHERE_FSTYPE "fuse.corpusfs"

/*
 * The path without links, "." and ".."; works for the mountpoint of a dead daemon, which cannot be looked at. NULL and
 * errno.
 */
char *where_absolute(const char *path);
char *where_absolute_new(const char *path); /* of what need not be there; links stay. The same errors */

enum where_kind {
	WHERE_NOT_MOUNTED,
	WHERE_OURS,
	WHERE_OTHER, /* another filesystem is mounted there */
};
/*
 * What is mounted exactly at an absolute path, topmost. ret_store (may be NULL): for WHERE_OURS the store's path, or
 * NULL.
 */
enum where_kind where_mounted(const char *mountpoint, char **ret_store);

/* The store in whose mount the absolute path lies; NULL: in none. ret_mountpoint may be NULL. */
char *where_store_of(const char *path, char **ret_mountpoint);

/* The store of a path as it was typed, whose last part need not be there. */
char *where_store_around(const char *path);

/* The connection of the mount in which the absolute path lies, and where that shows, owned; 0 and NULL: it lies in none of ours. */
unsigned where_connection(const char *path, char **ret_mountpoint);

/* The store that a path names: its directory, or a place in a mount of it. ret_store is owned. */
WARN_UNUSED int where_named_store(const char *path, char **ret_store, struct error *err);

/* Whether it lies in a mount of a repository's backups, or of what is in a remote. ret_mountpoint is owned. */
bool where_is_of_repository(const char *path, char **ret_mountpoint);

/* Where an absolute path, which need not exist, lies in the store that is mounted there. All owned. */
struct where_inside {
	char *store;
	char *view; /* what of it is mounted: "DATASET" or "DATASET@NAME", "" for all of it */
	char *path; /* in that, clean: of a whole store it begins with a dataset */
};
bool where_inside(const char *path, struct where_inside *ret_inside); /* false: in none */
void where_inside_clear(struct where_inside *inside);

/* All mounts of corpusfs there are, in the order in which they were made. `store`: NULL when it is not found. */
void where_each(void (*each)(void *arg, const char *mountpoint, const char *store, unsigned connection), void *arg);

enum where_health {
	WHERE_ALIVE,
	WHERE_DEAD,   /* its daemon has died */
	WHERE_SILENT, /* it does not answer within some seconds */
};
enum where_health where_health(const char *mountpoint);
/*
 * What cuts the connection of what is mounted there, topmost, also after it was detached; -1: it is not permitted. where_abort() does it: who
 * waits for the daemon gets an error.
 */
int where_open_abort(const char *mountpoint);
void where_abort(int fd);
/* Takes a dead mount away, as root by umount2, else through fusermount3. */
WARN_UNUSED int where_remove_dead(const char *mountpoint, struct error *err);
/* Takes all dead mounts of ours away that lie over one another there, and tells the user what is lost with them. */
WARN_UNUSED int where_remove_all_dead(const char *mountpoint, struct error *err);

/* Whether what is mounted there, topmost, is mounted read-only. */
bool where_is_read_only(const char *mountpoint);
/* Unmounts without the daemon's help, which is good for what is read-only: nothing of it waits to be written. -EBUSY. */
WARN_UNUSED int where_unmount(const char *mountpoint, bool lazy, struct error *err);

/* The process behind what is mounted there, topmost, as behind_connect (fs/daemon/process/behind.h); a negative errno: it is not known. */
WARN_UNUSED int where_behind(const char *mountpoint, pid_t *ret_pid);

#endif
