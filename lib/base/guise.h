/*
 * Touching files with another user's rights, not with those of the process: root's daemon reads and writes for a caller what the caller
 * may. The rights are those of the calling thread only.
 *
 *   guise_prepare    once in a thread that serves that caller only: it loses its supplementary groups for good
 *   guise_on ... guise_off    around system calls on the caller's files; may not be nested
 */
#ifndef CORPUSFS_BASE_GUISE_H
#define CORPUSFS_BASE_GUISE_H

#include <stdbool.h>
#include <sys/types.h>

struct guise {
	bool active; /* the caller is another user than the process */
	uid_t uid;
	gid_t gid;
};

struct guise guise_of(uid_t uid, gid_t gid);
void guise_prepare(const struct guise *guise);
void guise_on(const struct guise *guise);
void guise_off(const struct guise *guise);
bool guise_is_root(const struct guise *guise);

#endif
