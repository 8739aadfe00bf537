/*
 * Follows a published dataset: a thread asks for its newest version every now and then, and makes it what is looked at (browse_move).
 *
 *   browsing_open, with `follows` -> follow_start -> ... -> follow_end -> browsing_close
 *
 * It asks for this dataset's head alone: with etcd for one key every two seconds, without for the heads that the place has of it every five. It asks on
 * connections of its own, where nothing takes longer than two seconds: so follow_end does not wait for a place that is away. While the place does not
 * answer, or what is new cannot be read, what is looked at stays what it is; browse_state tells why, and `problem` of browsing once for each such time.
 * A version of a lower number than the one that is looked at is no news.
 */
#ifndef CORPUSFS_BROWSE_FOLLOW_H
#define CORPUSFS_BROWSE_FOLLOW_H

#include "lib/browse/browsing.h"

struct follow;

struct follow_options {
	struct browsing *browsing; /* stays the caller's, and is there until follow_end returned */
	int (*drop)(void *arg, const char *name); /* as browse_move has it; from the thread of this */
	void (*moved)(void *arg, uint64_t number, const char *name); /* it is another version now; the same thread */
	void *arg;
};

WARN_UNUSED int follow_start(const struct follow_options *options, struct follow **ret_follow, struct error *err);
void follow_end(struct follow *follow); /* NULL is fine */

#endif
