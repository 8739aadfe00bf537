/*
 * Which versions of a key does anybody need? Internal to lib/dataset.
 *
 * A judge knows the lines of the living views of one family as of its making: heads, snapshots, and retired heads somebody still reads.
 * Its verdict "not needed" stays true: views made later copy lines of living ones and add epochs of their own, so they see nothing that
 * no living view sees. A judge belongs to one thread.
 */
#ifndef CORPUSFS_DATASET_JUDGE_H
#define CORPUSFS_DATASET_JUDGE_H

#include "lib/dataset/catalog.h"

struct judge {
	uint32_t family;
	struct line *lines;
	size_t count, cap;
	struct line all; /* their union */
};

/* Caller does not hold catalog_lock. */
struct judge *judge_new(struct store *store, uint32_t family);
void judge_add(struct judge *judge, const struct line *line); /* one more view that counts */
void judge_free(struct judge *judge);

struct judged {
	uint64_t epoch;
	bool tombstone;
	bool needed;
};

/* All versions of one key, the newest first; sets `needed`. Rule and proof: prune.c. */
void judge_versions(const struct judge *judge, struct judged *versions, size_t count);

/* a without b */
struct line line_minus(const struct line *a, const struct line *b);
void line_unite(struct line *sum, const struct line *line);

#endif
