/*
 * Several chunks at once, as look.h has it for one: neighbours are read together, past the page cache, and hashed side by side.
 *
 *   chunk_looks_new -> (chunk_looks_read -> chunk_looks_verify)* -> chunk_looks_free
 *
 * A chunk that cannot be had so, for whatever reason, is to be looked at by itself: chunk_look_open has the last word. One thread each.
 */
#ifndef CORPUSFS_CHUNK_LOOKS_H
#define CORPUSFS_CHUNK_LOOKS_H

#include "lib/chunk/chunks.h"
#include "lib/chunk/digest.h"
#include "lib/format/record.h"

#define CHUNK_LOOKS_MAX 32U

struct chunk_looks_item {
	bool is_there;              /* its checksum was checked */
	bool is_wanted;             /* the caller's: its plain bytes are to be verified */
	struct chunk_header header; /* if it is there */
	const uint8_t *plain;       /* whose SHA-256 was computed and is the header's. NULL: they were not */
};

struct chunk_looks;
struct chunk_looks *chunk_looks_new(struct chunks *chunks);
void chunk_looks_free(struct chunk_looks *looks); /* NULL is fine; before the chunk store is closed */

/* The chunks [first, first + count), at most CHUNK_LOOKS_MAX. The items, and what they point to, last until the next call. Nothing is wanted yet. */
struct chunk_looks_item *chunk_looks_read(struct chunk_looks *looks, uint64_t first, size_t count);
/* Of the items of the last call, those that are wanted. `beside` is hashed with them, if any is wanted; NULL: nothing. */
void chunk_looks_verify(struct chunk_looks *looks, struct digest_job *beside);

#endif
