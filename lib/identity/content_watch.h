/*
 * The digest of a file's content (content_digest.h), for who sees all of it go by in order, holes left out. One thread.
 *
 *   content_watch_begin -> content_watch_data... -> content_watch_end
 */
#ifndef CORPUSFS_IDENTITY_CONTENT_WATCH_H
#define CORPUSFS_IDENTITY_CONTENT_WATCH_H

#include "lib/identity/content_digest.h"

/* All zero: nothing is watched, and the calls do nothing. */
struct content_watch {
	bool is_on;
	uint64_t size, at;
	struct content_digest digest;
};

/* `digest` is empty, and the watch's until its end. */
void content_watch_begin(struct content_watch *watch, struct digest *digest, uint64_t size);
/* Zeros are before it. It lies below the size. */
void content_watch_data(struct content_watch *watch, const void *data, size_t len, uint64_t offset);
/* True: nothing is missing (`all`), and this is its digest. It is off then. */
bool content_watch_end(struct content_watch *watch, bool all, uint8_t ret_digest[DIGEST_LEN], bool *ret_is_sparse);

#endif
