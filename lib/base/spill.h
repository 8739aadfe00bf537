/*
 * A map from byte strings to byte strings, in order of its keys, of which only a limited part is in memory: the rest goes to a temporary
 * file without a name (in $TMPDIR, /var/tmp or /tmp), which ends with the map or with the process.
 *
 *   spill_new -> spill_put, spill_get, spill_each in any order -> spill_free
 *
 * Beside `memory`, a map that has gone to its file keeps about a thousandth of that in memory, to find things again. A set is a map whose
 * values are empty; spill_add and spill_has serve sets of numbers. Keys and values together may have 1 MiB.
 *
 * Errors: -ENOSPC and others of the file; after one the map is good for nothing but spill_free. One thread.
 */
#ifndef CORPUSFS_BASE_SPILL_H
#define CORPUSFS_BASE_SPILL_H

#include "lib/base/buf.h"

struct spill;

struct spill *spill_new(size_t memory);
void spill_free(struct spill *spill); /* NULL is fine */

WARN_UNUSED int spill_put(struct spill *spill, const void *key, size_t key_len, const void *value, size_t value_len); /* replaces */
/* -ENOENT; `value` may be NULL to ask only, else it is appended to. */
WARN_UNUSED int spill_get(struct spill *spill, const void *key, size_t key_len, struct buf *value);

/* In order of keys, byte by byte. Stops when the callback returns not 0, and returns that. The callback leaves the map alone. */
struct spill_item {
	const uint8_t *key, *value;
	size_t key_len, value_len;
};
typedef int (*spill_fn)(void *arg, const struct spill_item *item);
WARN_UNUSED int spill_each(struct spill *spill, spill_fn each, void *arg);

/* The same one by one, for who reads several maps side by side. The map is left alone while an iterator is open. */
struct spill_iter;
WARN_UNUSED int spill_iter_new(struct spill *spill, struct spill_iter **ret_iter);
void spill_iter_free(struct spill_iter *iter); /* NULL is fine */
WARN_UNUSED int spill_iter_next(struct spill_iter *iter, struct spill_item *ret_item); /* 1, 0 at the end; valid until the next call */

/* Sets of numbers, in numerical order. */
WARN_UNUSED int spill_add(struct spill *spill, uint64_t number);
WARN_UNUSED int spill_has(struct spill *spill, uint64_t number); /* 1 or 0 */
uint64_t spill_number(const uint8_t *key);                       /* of an item of such a set */

#endif
