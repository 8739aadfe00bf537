/*
 * A cache that threads share, of what is made of blobs. What several ask for at once is made once. What was used least recently goes first, and
 * what is in use stays: so it is larger than its limit at most by what its users hold.
 *
 *   shared_cache_get -> use the value, which nobody changes -> shared_cache_put
 *
 * Failures are not kept: who asks again tries again. Threads: any. No lock is held while a value is made or freed.
 */
#ifndef CORPUSFS_BROWSE_SHARED_CACHE_H
#define CORPUSFS_BROWSE_SHARED_CACHE_H

#include <stdbool.h>

#include "lib/repository/blob_id.h"

struct shared_cache;

struct shared_cache_kind {
	/* Makes a value, and says what it costs in bytes. Never -EAGAIN. */
	int (*make)(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost);
	/* The same where that is quick: -EAGAIN, it is not. NULL: it never is. */
	int (*make_quickly)(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost);
	void (*free)(void *value);
	void *arg;
};

struct shared_cache *shared_cache_new(const struct shared_cache_kind *kind, size_t limit);
void shared_cache_free(struct shared_cache *cache); /* nothing may be in use; NULL is fine */

struct cached;
/* What `make` returns, if not 0. */
WARN_UNUSED int shared_cache_get(struct shared_cache *cache, const struct blob_id *id, struct cached **ret_cached);
/* The same of what is there already, or quickly made. -EAGAIN: it is not; nobody was made to wait. */
WARN_UNUSED int shared_cache_find(struct shared_cache *cache, const struct blob_id *id, struct cached **ret_cached);
/* Somebody has it, or makes it. */
bool shared_cache_has(struct shared_cache *cache, const struct blob_id *id);
void *cached_value(const struct cached *cached);
void shared_cache_put(struct shared_cache *cache, struct cached *cached); /* NULL is fine */

/*
 * For who makes several values together. True: nobody has it or makes it, so the caller does, and ends that with shared_cache_made: with the value, or
 * with -EAGAIN, and then who waits for it makes it.
 */
WARN_UNUSED bool shared_cache_claim(struct shared_cache *cache, const struct blob_id *id, struct cached **ret_cached);
void shared_cache_made(struct shared_cache *cache, struct cached *cached, int result, void *value, size_t cost);

size_t shared_cache_cost(struct shared_cache *cache);

#endif
