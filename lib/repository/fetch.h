/*
 * Several data blobs read together. Those that stand side by side in a pack come with one get; then several threads check, decrypt and unpack
 * them. A fetch is used again and again:
 *
 *   fetch_new -> (fetch_begin -> fetch_add ... -> fetch_run -> fetch_find ...)... -> fetch_free
 *
 * It holds at most FETCH_BYTES of plain bytes, the same of sealed ones, and what stands between them in the packs: 14 MiB together.
 * A read that is sent a second time (hedge.h) needs room for the same again meanwhile, HEDGE_BYTES_MAX at most.
 * One thread. What cannot be had this way is not found; repository_read_blob() then looks at other copies, and says what is wrong.
 */
#ifndef CORPUSFS_REPOSITORY_FETCH_H
#define CORPUSFS_REPOSITORY_FETCH_H

#include "lib/base/pool.h"
#include "lib/repository/repository.h"

#define FETCH_BYTES (4U << 20)
#define FETCH_BLOBS 256
#define FETCH_LONG_US 900000 /* who has asked the place in vain for so long asks it no more */

struct fetch;

/* The pool's threads help; NULL: there is none. */
struct fetch *fetch_new(struct repository *repository, struct pool *pool);
void fetch_free(struct fetch *fetch); /* NULL is fine */

/* Forgets what it has. */
void fetch_begin(struct fetch *fetch);
/* False: it is full, or the blob is longer than it takes, or no index names it. */
bool fetch_add(struct fetch *fetch, const struct blob_id *id);
void fetch_run(struct fetch *fetch);
/*
 * 1 and the verified bytes, good until fetch_begin; 0: it was not added; -EBADMSG: it is damaged, or could not be had
 * this time; others: what the place said after it was waited for in vain, FETCH_LONG_US at least. Quick when blobs are
 * asked for in the order in which they were added.
 */
WARN_UNUSED int fetch_find(struct fetch *fetch, const struct blob_id *id, const void **ret_data, size_t *ret_len);

#endif
