/*
 * Holds on backups: who needs one says so in the repository, and until that is taken back neither a name nor rules make it go (backup.forget,
 * backup.prune). A hold is a sealed file where restic does not look (OBJECT_HOLD), named as all sealed files are. In it stands, as JSON:
 *
 *   {"version": 1, "backup": the snapshot file's name, "tag": why, in the words of who holds it, "host", "user", "since": time of RFC 3339}
 *
 * Who holds a backup has the lock that writers share, and who forgets has it alone: so a backup is held, or it is gone. Restic knows no holds, and
 * what it forgets is gone: the hold stays, of a backup that is no more.
 *
 * A file that cannot be read says not what it holds, so that nothing is forgotten (-EBADMSG) while it is there. The same goes for one of a newer version
 * (-EPROTONOSUPPORT).
 *
 * Threads: one for each repository.
 */
#ifndef CORPUSFS_BACKUP_HOLDS_H
#define CORPUSFS_BACKUP_HOLDS_H

#include "lib/repository/repository.h"

#define BACKUP_HOLD_TAG_MAX 255 /* bytes */

struct backup_hold {
	char object[BLOB_ID_TEXT]; /* its name */
	char backup[BLOB_ID_TEXT];
	char *tag, *host, *user; /* owned */
	struct timespec since;
};
struct backup_holds {
	ARRAY_FIELDS(struct backup_hold);
};
void backup_holds_clear(struct backup_holds *holds);

WARN_UNUSED int backup_holds_read(struct repository *repository, struct backup_holds *ret_holds, struct error *err);
/* Those that cannot be read: `code` says why, and what `damaged` returns ends it when it is not 0. */
WARN_UNUSED int backup_holds_check(struct repository *repository, int (*damaged)(void *arg, const char *object, int code), void *arg, struct error *err);
/* The first that holds the backup; with a tag, the one that has it. NULL: none does. */
const struct backup_hold *backup_holds_find(const struct backup_holds *holds, const char *backup, const char *tag);

/* Both with a lock. -EINVAL: it cannot be a tag. -EEXIST: the backup is held by that tag. -ENOENT: it is not. */
WARN_UNUSED int backup_hold_put(struct repository *repository, const char *backup, const char *tag, struct error *err);
WARN_UNUSED int backup_hold_release(struct repository *repository, const char *backup, const char *tag, struct error *err);

#endif
