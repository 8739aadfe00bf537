/*
 * A set of blobs by their names, in two arrays: 33 bytes for each and at most 11 for its slot.
 *
 * One thread, or under its owner's lock; looking is for any thread while nobody adds.
 */
#ifndef CORPUSFS_REPOSITORY_BLOB_SET_H
#define CORPUSFS_REPOSITORY_BLOB_SET_H

#include <stdbool.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/repository/blob_id.h"

struct blob_set {
	ARRAY(struct blob_set_item {
		struct blob_id id;
		uint8_t is_tree;
	}) items; /* in the order in which they were added */
	uint32_t *slots; /* a hash table by open addressing: numbers of items plus one, 0 is free; at most three quarters full */
	uint32_t slot_count;
};

/* All zero is an empty set. */
void blob_set_clear(struct blob_set *set);
bool blob_set_has(const struct blob_set *set, const struct blob_id *id, bool is_tree);
bool blob_set_put(struct blob_set *set, const struct blob_id *id, bool is_tree); /* false: it was there already */

#endif
