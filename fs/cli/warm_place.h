/*
 * Where the files are that are fetched into a cache: in a mount, which has one, or in a remote that nobody has mounted, whose files this process
 * looks at itself, with a cache on disk that a later mount will use.
 *
 * Threads: warm_place_bring any, the others one.
 */
#ifndef CORPUSFS_CLI_WARM_PLACE_H
#define CORPUSFS_CLI_WARM_PLACE_H

#include "fs/cli/remote_mount.h"
#include "lib/browse/browsing.h"

struct warm_place {
	const char *path;          /* in the mount, or below what is published; also for messages */
	struct browsing *browsing; /* NULL: it is a mount */
	struct browse_entry from;  /* what has this path, without a mount */
};

struct warm_entry {
	const char *path; /* in a mount; else NULL */
	uint64_t id;      /* without a mount */
	bool is_dir, is_file, is_top;
	uint64_t size;
};
typedef int (*warm_each_fn)(void *arg, const struct warm_entry *entry, struct error *err);

/* Gives all that is at and below the path, each directory before what is in it. A negative number from `each` ends that. */
WARN_UNUSED int warm_place_walk(const struct warm_place *place, warm_each_fn each, void *arg, struct error *err);
/* As remote_mount_bring. */
WARN_UNUSED int warm_place_bring(const struct warm_place *place, const struct warm_entry *entry, struct remote_step *step, struct error *err);

/* browse_pin, browse_unpin, browse_unpin_all */
enum warm_pin { WARM_PIN, WARM_UNPIN, WARM_UNPIN_ALL };
WARN_UNUSED int warm_place_pin(const struct warm_place *place, enum warm_pin what, struct error *err);
/* How many bytes of what is pinned by the path are not in the cache. */
WARN_UNUSED int warm_place_missing(const struct warm_place *place, uint64_t *ret_bytes, struct error *err);

/* How the cache fares. */
struct warm_state {
	bool stopped;                /* nothing more is kept */
	uint64_t blobs, limit, read; /* read: bytes, by readers of the mount */
};
WARN_UNUSED int warm_place_state(const struct warm_place *place, struct warm_state *ret_state, struct error *err);

#endif
