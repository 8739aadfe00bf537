/*
 * What is looked at in a repository, from the place to the cache on disk: the repository is opened, with its copies in the cache if there is one, and
 * then what of it is named (browse.h).
 *
 *   browsing_open -> browse_* with `browse` -> [browsing_leave_cache] -> browsing_close
 *
 * With a cache on disk that was filled before, the place may be away, unless it is asked for what was published and etcd alone knows which version that
 * is. A place that answers, and says no, is not away: nobody is to see old content for a wrong key or a wrong name.
 *
 * Threads: one opens, leaves and closes.
 */
#ifndef CORPUSFS_BROWSE_BROWSING_H
#define CORPUSFS_BROWSE_BROWSING_H

#include "lib/browse/browse.h"
#include "lib/browse/cache_dir.h"

struct browsing_options {
	const char *repository;        /* an absolute path, or a URL: its name, also in the cache */
	const struct buf *description; /* of a repository on the network (lib/repository/objects_open.h); NULL: it is a directory */
	const char *password;
	const char *backup; /* as backup_find has it; NULL: all of them */
	bool is_published;  /* it is a version that was published, as head_find has it: the root is its dataset */
	bool follows;       /* the dataset's head, and what comes after it (follow.h) */
	size_t cache_bytes; /* of memory, as browse.h has it */
	const char *cache_dir; /* an absolute path (cache_dir.h); NULL: there is no cache on disk */
	uint64_t cache_dir_bytes;
	uint64_t patience_ms; /* how long who reads waits for the place, if it is on the network */
	void (*problem)(void *arg, const char *text); /* any thread */
	void *arg;
};

struct browsing {
	struct browsing_options options; /* what they name stays the caller's until the end */
	struct browse *browse;
	struct cache_dir cache_dir;
	struct disk_cache *disk; /* in it; NULL: there is none */
	struct objects *with_copies; /* the repository's, of which copies are in it; NULL: there are none */
};

/* -EBUSY: somebody uses the cache. What is half open is closed by browsing_close, also after an error. */
WARN_UNUSED int browsing_open(const struct browsing_options *options, struct browsing *ret_browsing, struct error *err);
/* The place once more, by connections of its own, on which each request ends within the limit. */
WARN_UNUSED int browsing_open_place(const struct browsing *browsing, uint64_t limit_ms, struct objects **ret_objects, struct error *err);
/* Another process may use the cache from then on, however long the place takes, for which browsing_close waits. */
void browsing_leave_cache(struct browsing *browsing);
void browsing_close(struct browsing *browsing); /* nobody looks any more; again is fine */

#endif
