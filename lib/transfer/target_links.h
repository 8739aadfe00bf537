/*
 * Hard links in the target of an export. The first name of a file is written, and stays at hand under a name of its own in a directory
 * for links; the later names are links to that, wherever and however deep they are.
 *
 *   target_links_init -> target_links_meet ... -> target_links_clear
 *
 * Where the target takes no links, each name becomes a file, which is told as a problem. Threads: any but for init and clear.
 */
#ifndef CORPUSFS_TRANSFER_TARGET_LINKS_H
#define CORPUSFS_TRANSFER_TARGET_LINKS_H

#include "lib/transfer/target_dir.h"

struct linked;

struct target_links {
	struct target_dirs *dirs;
	int top_fd;      /* not owned */
	char *name;      /* of the directory for links, which is made when first needed; owned */
	int fd;          /* of it; -1: not made yet */
	int failed;      /* why it could not be made */
	pthread_mutex_t lock; /* guards all below, and fd and failed */
	pthread_cond_t done; /* the first name of a file was made */
	struct linked *all;
};

void target_links_init(struct target_links *links, struct target_dirs *dirs, int top_fd);
void target_links_clear(struct target_links *links);
bool target_links_is_name(const struct target_links *links, const char *name); /* in the top directory, of the directory for links */

/* How a name is made that is no link. Its result is told by whoever gives it. */
typedef int (*target_links_fn)(void *arg, struct target_dir *dir, const char *name, const struct attr *attr);

/* Makes one name of a file with several. If the first name is being made, waits for it. */
void target_links_meet(struct target_links *links, struct target_dir *dir, const char *name, const struct attr *attr,
		       target_links_fn make, void *arg);

#endif
