/*
 * Touching files with another user's rights, not with those of the process: root's daemon reads and writes for a caller what the caller
 * may. The rights are those of the calling thread only.
 *
 *   impersonate_prepare    once in a thread that serves that caller only: it loses its supplementary groups for good
 *   impersonate_begin ... impersonate_end    around system calls on the caller's files; may not be nested
 */
#ifndef CORPUSFS_BASE_IMPERSONATE_H
#define CORPUSFS_BASE_IMPERSONATE_H

#include <stdbool.h>
#include <sys/types.h>

struct impersonation {
	bool active; /* the caller is another user than the process */
	uid_t uid;
	gid_t gid;
};

struct impersonation impersonate_as(uid_t uid, gid_t gid);
void impersonate_prepare(const struct impersonation *caller);
void impersonate_begin(const struct impersonation *caller);
void impersonate_end(const struct impersonation *caller);
bool impersonate_is_root(const struct impersonation *caller);

#endif
