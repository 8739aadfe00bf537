/*
 * The content of damaged chunks, looked for in bytes that come from elsewhere. What matches by SHA-256 is stored and stands for the damaged
 * chunk (damaged.h); nothing that is there is changed or removed.
 *
 *   wanted_new -> wanted_look for the windows of one run of bytes after the other -> wanted_free
 *
 * One thread at a time.
 */
#ifndef CORPUSFS_CHUNK_WANTED_H
#define CORPUSFS_CHUNK_WANTED_H

#include "lib/chunk/chunks.h"

struct wanted;

/* The ids ascend. Walks the whole index once. Chunks whose entry in it is gone are not looked for. */
WARN_UNUSED int wanted_new(struct chunks *chunks, const uint64_t *ids, size_t count, struct wanted **ret_wanted);
void wanted_free(struct wanted *wanted); /* NULL is fine */

/*
 * Cuts the bytes as a write would. `last`: the run ends here; else what is not cut yet is to come again, with more behind it, in front of the
 * next window. `apply`: what matches is stored, and on disk when this returns. -ENOSPC, -EIO, -EROFS
 */
WARN_UNUSED int wanted_look(struct wanted *wanted, const uint8_t *data, size_t len, bool last, bool apply, size_t *ret_used);

uint64_t wanted_found(const struct wanted *wanted);
uint64_t wanted_found_bytes(const struct wanted *wanted);
size_t wanted_left(const struct wanted *wanted);

#endif
