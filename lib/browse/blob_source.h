/*
 * Where blobs come from: the one interface between files that are browsed and what holds them. Behind it stands a repository, whose
 * objects may lie in a directory or elsewhere (lib/repository/objects.h). A cache of blobs on a local disk is a source, too, in front of another one.
 *
 * What a source gives was verified: its bytes are those of the blob's name. Errors: -ENOENT no such blob; -EBADMSG all copies are damaged; others
 * of the place. Who waited for long, and in vain, has done so for all who want the same blob: they are told at once, for a second or until the place
 * answers. When many wait, those who come are told so whatever they want.
 * Threads: any; calls may be made at once.
 */
#ifndef CORPUSFS_BROWSE_BLOB_SOURCE_H
#define CORPUSFS_BROWSE_BLOB_SOURCE_H

#include "lib/browse/disk_cache.h"
#include "lib/repository/repository.h"

#define BLOB_SOURCE_TIMES 40

/* `result` 0: a blob's verified bytes; else what the place said. */
typedef void (*blob_source_each_fn)(void *arg, size_t number, int result, const void *data, size_t len);

/* What it fetched from the place since it was made. */
struct blob_source_counts {
	uint64_t fetches, failures; /* each of one blob, or of several together */
	uint64_t sent_again;        /* requests, beside those whose answers were late */
	uint64_t blobs, bytes;      /* plain ones */
	uint64_t by_time[BLOB_SOURCE_TIMES]; /* fetches that took less than 2^i microseconds, but not less than half of that */
};

struct blob_source {
	int (*get)(struct blob_source *source, const struct blob_id *id, bool is_tree, struct buf *ret_plain);
	/* The same without waiting for the place. -EAGAIN: who wants it must wait. NULL: always so. */
	int (*find)(struct blob_source *source, const struct blob_id *id, bool is_tree, struct buf *ret_plain);
	/*
	 * Several data blobs, each of another name; those that are neighbours in a pack are fetched with one request. Those that cannot be had in this
	 * way are not given to `each`, and may be had by `get`, which looks for other copies and says what is wrong.
	 */
	void (*get_many)(struct blob_source *source, const struct blob_id *ids, size_t count, blob_source_each_fn each, void *arg);
	/* How long the blob's plain bytes are, without fetching it. */
	int (*length)(struct blob_source *source, const struct blob_id *id, bool is_tree, uint64_t *ret_len);
	void (*free)(struct blob_source *source);
};

/* The repository, with its index, stays the caller's. */
struct blob_source *blob_source_repository(struct repository *repository);
/* Of such a source: blobs that others have added to the repository are found from then on. */
WARN_UNUSED int blob_source_refresh(struct blob_source *source, struct error *err);
struct blob_source_counts blob_source_counts(struct blob_source *source); /* of such a source */
/* What is in the cache comes from there, and what comes from the other source goes into it. Takes over neither. */
struct blob_source *blob_source_cached(struct blob_source *source, struct disk_cache *cache);
void blob_source_free(struct blob_source *source); /* NULL is fine */

#endif
