/* Sets of views, each kept once and known by a number; 0 is the empty set. Internal to lib/history; one thread. */
#ifndef CORPUSFS_HISTORY_HOLDERS_H
#define CORPUSFS_HISTORY_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct holders;

struct holders *holders_new(size_t views);
void holders_free(struct holders *holders);
size_t holders_words(const struct holders *holders); /* a set's bits are so many u64 */
uint32_t holders_intern(struct holders *holders, const uint64_t *bits);
uint32_t holders_unite(struct holders *holders, uint32_t a, uint32_t b);
const uint64_t *holders_bits(const struct holders *holders, uint32_t set);
uint32_t holders_count(const struct holders *holders); /* numbers are below it */

static inline bool holders_bit(const uint64_t *bits, size_t view)
{
	return bits[view / 64] >> (view % 64) & 1;
}

#endif
