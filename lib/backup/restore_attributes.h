/*
 * Owner, mode, extended attributes with access control lists, and times of an open file or directory: as the backup has them, whatever it had before.
 * What of them cannot be kept is a problem (transfer.h).
 */
#ifndef CORPUSFS_BACKUP_RESTORE_ATTRIBUTES_H
#define CORPUSFS_BACKUP_RESTORE_ATTRIBUTES_H

#include <sys/stat.h>

#include "lib/backup/restore_file.h"

/* All of them. An extended attribute that the backup has not goes, but for those that the machine gives its files, as labels of security modules. */
WARN_UNUSED int restore_attributes_set(struct restore_target *target, int fd, const char *path, const struct node *node);

/* After the times of a file were set: whether the filesystem has them. */
void restore_attributes_times(struct restore_target *target, const struct stat *st, const char *path, const struct node *node);

bool restore_attributes_has_xattr(const struct node *node, const char *name);

/*
 * Before the content of a file that is there is compared: whoever owned it until now must not change it afterwards, when it is another user's. So it
 * is closed to him. False: it is open to be written to, or has other names, or that cannot be known: it is left alone.
 */
WARN_UNUSED bool restore_attributes_take(const struct restore_target *target, int fd, const struct node *node);

#endif
