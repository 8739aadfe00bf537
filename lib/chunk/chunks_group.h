/* A group of runs on its way into the store: what chunks_group.c, intake.c and sweep.c share. Not for other layers. */
#ifndef CORPUSFS_CHUNK_CHUNKS_GROUP_H
#define CORPUSFS_CHUNK_CHUNKS_GROUP_H

#include <uthash.h>

#include "lib/base/array.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/digest.h"

/* The pieces of a run, one after the other from its start on. */
struct cut_piece {
	uint64_t end;
	uint8_t sha256[DIGEST_LEN];
};

struct cuts {
	ARRAY_FIELDS(struct cut_piece);
};

struct run {
	const uint8_t *data;
	size_t len;
	int level;
	bool is_whole; /* not cut */
	atomic_uint unshrunk; /* pieces in a row that were not worth packing */
	struct cuts cuts;
	struct chunk_piece *pieces; /* made by chunks_group_store */
};

/* One piece of one run on its way. */
struct item {
	struct run *run;
	const uint8_t *data;
	uint32_t length;
	struct item *twin; /* the first item of the group with the same bytes, if that is another */
	uint64_t id;       /* 0: not settled yet; of a twin it stays 0 */
	bool is_new;       /* not found in the store: to be stored under `id` */
	bool unsound;      /* found, and not whole (hits.c) */
	uint64_t heals;    /* the damaged chunk that the new one stands for; 0: none */
	uint8_t sha256[DIGEST_LEN];
	uint8_t *packed; /* owned; NULL: stored as it is */
	size_t stored_len;
	UT_hash_handle hh;
};

/* Work in order, shared out into steps of the pool: step i does [at[i], at[i + 1]). */
struct slices {
	size_t *at;
	size_t count;
	uint64_t cost; /* of the last one */
	uint64_t full; /* with this cost one is */
};
void slices_init(struct slices *slices, size_t most); /* so much will be added at most; `at` is freed by its owner */
void slices_add(struct slices *slices, uint64_t bytes);

struct chunks_group {
	struct chunks *chunks;
	ARRAY(struct run) runs;
	struct item *items; /* the pieces of all runs, in order */
	size_t item_count;
	struct slices slices; /* of the items */
	atomic_int error; /* the first failure of a step */

	size_t settled; /* items whose ids the collector must respect; changes with chunks.mark_lock shared */

	struct chunks_group *prev, *next; /* chunks.groups_lock */
};

/* Cuts all runs into pieces and hashes them; in parallel, long runs too. */
void group_cut(struct chunks_group *group);

/* For the collector, which holds chunks.mark_lock exclusively: adds the ids that a group refers to, to the set. */
void chunks_group_mark(const struct chunks_group *group, struct chunk_set *set);

#endif
