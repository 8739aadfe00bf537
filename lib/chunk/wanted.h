/*
 * Pieces of content that are looked for in bytes which come from elsewhere, by their SHA-256. No store is needed for it.
 *
 *   wanted_new -> wanted_add ... -> wanted_look for the windows of one run of bytes after the other, or wanted_look_whole -> wanted_free
 *
 * Bytes that have the right name or stand in the right place, and are others, are never found. One thread at a time.
 */
#ifndef CORPUSFS_CHUNK_WANTED_H
#define CORPUSFS_CHUNK_WANTED_H

#include <stdbool.h>

#include "lib/base/error.h"
#include "lib/chunk/cut.h"
#include "lib/chunk/digest.h"

struct wanted_piece {
	uint8_t sha256[DIGEST_LEN];
	uint32_t length;
};
/* What is not 0 ends the look. */
typedef int (*wanted_fn)(void *arg, const struct wanted_piece *piece, const void *data);

struct wanted;
/* How the store cuts that wants the pieces. `found` is told of each piece once; then it is wanted no more. */
struct wanted *wanted_new(uint32_t min, uint32_t average, uint32_t max, wanted_fn found, void *arg);
void wanted_free(struct wanted *wanted); /* NULL is fine */
void wanted_add(struct wanted *wanted, const struct wanted_piece *piece);

/*
 * Cuts the bytes as a write would. `last`: the run ends here; else what is not cut yet is to come again, with more behind it, in front of the
 * next window.
 */
WARN_UNUSED int wanted_look(struct wanted *wanted, const uint8_t *data, size_t len, bool last, size_t *ret_used);
/* What is one piece. */
WARN_UNUSED int wanted_look_whole(struct wanted *wanted, const void *data, size_t len);

size_t wanted_left(const struct wanted *wanted);
struct wanted_piece *wanted_list(const struct wanted *wanted); /* those that are left, wanted_left() of them; freed by the caller */

#endif
