/*
 * Impersonate: a thread of root's daemon touches files with the rights of the user who asked, so that he gets and changes only what he
 * may. The rights are those of the calling thread only. Where the process is not root, it has its own rights and no others.
 *
 *   impersonate_prepare    once in each thread that works for that user: the thread gets his supplementary groups, and keeps them
 *   impersonate_begin ... impersonate_end    around system calls on the user's files; may not be nested
 *
 * A thread that was prepared works for that user only, until it ends.
 */
#ifndef CORPUSFS_BASE_IMPERSONATE_H
#define CORPUSFS_BASE_IMPERSONATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct impersonate {
	bool active; /* the process is root, and the user is not */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary ones; the caller's, and live as long as this */
	size_t group_count;
};

struct impersonate impersonate_as(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count);
void impersonate_prepare(const struct impersonate *user);
void impersonate_begin(const struct impersonate *user);
void impersonate_end(const struct impersonate *user);
bool impersonate_is_root(const struct impersonate *user); /* the work is done with root's rights */

#endif
