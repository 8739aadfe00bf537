/*
 * Which threads want attributes with the names that they list. The kernel cannot say, and its own guess is wrong for whoever lists a whole
 * directory first and then looks at its files, as `find`, `ls -l` and `rsync` do: each file costs a request. Attributes that nobody
 * asked for cost less, but whoever only wants names (os.walk, a training's index of files) then takes several times as long.
 *
 * So it is watched: a thread that looks up files of the directory that it listed last wants attributes of the next ones, until it has
 * not done so for a while. What a thread lists first comes with attributes, as much as one request holds: `ls -l` is over before
 * anything could be learnt.
 *
 * Threads: any. Two callers may share a place; then each makes the other's forgotten.
 */
#ifndef CORPUSFS_FUSE_GROUP_LISTERS_H
#define CORPUSFS_FUSE_GROUP_LISTERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LISTERS_PLACES 256
#define LISTERS_LOOKUPS 16   /* in one directory: then attributes are wanted */
#define LISTERS_WANT_MS 2000 /* for so long */

struct listers {
	pthread_mutex_t lock; /* guards all below */
	struct lister {
		pid_t thread; /* 0: none */
		uint64_t directory; /* node id of what it listed last */
		unsigned lookups;   /* of files in it */
		bool is_first;      /* it has listed no other */
		uint64_t wants_until_ms;
	} places[LISTERS_PLACES];
};

void listers_init(struct listers *listers);
void listers_clear(struct listers *listers);
/* The thread lists a directory, from the beginning or further on; returns whether with attributes. Of thread 0 nothing is known. */
bool listers_list(struct listers *listers, pid_t thread, uint64_t directory, bool from_start, uint64_t now_ms);
/* The thread has looked up something that is no directory. */
void listers_look_up(struct listers *listers, pid_t thread, uint64_t directory, uint64_t now_ms);

#endif
