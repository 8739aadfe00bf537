/*
 * What belongs to a file beside its name and content, set on a file of the target. Other filesystems do not take everything: what one
 * refuses, or takes and does not keep, costs the file nothing but that.
 *
 * Between impersonate_begin and impersonate_end. Threads: any.
 */
#ifndef CORPUSFS_TRANSFER_TARGET_ATTRIBUTES_H
#define CORPUSFS_TRANSFER_TARGET_ATTRIBUTES_H

#include "lib/transfer/export_parts.h"

/* Where the file is: open, or by name in a directory. */
struct target_file {
	int dir_fd;
	const char *name;
	int fd; /* -1: neither a regular file nor a directory */
};

/* What could not be kept, for people; `code` says why the first of it could not. */
struct target_lost {
	struct buf text;
	int code;
	bool mode, times; /* are among it */
};

/*
 * Owner, mode, extended attributes, times. A user cannot give files away: then they are his, and set-id bits, which would mean another
 * user, are dropped. -errno: the target fails altogether.
 */
WARN_UNUSED int target_attributes_set(const struct export *export, const struct target_file *file, const struct item *item,
				      struct target_lost *lost);

/* Whether a time is the wanted one, as far as the target's clock ticks: to 100 ns, a second or two, cut off. */
bool target_attributes_same_time(struct timespec wanted, struct timespec has);

/* A default ACL of the directory that something was made in has given it ACLs that it is not to have. */
void target_attributes_drop_acls(const struct target_file *file, bool is_dir);

#endif
