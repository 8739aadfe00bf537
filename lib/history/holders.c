#include "lib/history/holders.h"

#include <string.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

#define PAIR_CACHE 4096

struct holder_set {
	uint32_t number;
	UT_hash_handle hh;
	uint64_t bits[];
};

struct holders {
	size_t words;
	struct holder_set *by_bits; /* uthash */
	ARRAY(struct holder_set *) sets; /* by number */
	struct {
		uint32_t a, b, sum;
	} pairs[PAIR_CACHE]; /* sums made lately */
};

struct holders *holders_new(size_t views)
{
	struct holders *holders = xcalloc(1, sizeof(*holders));
	AUTO_FREE uint64_t *none = NULL;

	holders->words = views / 64 + 1;
	none = xcalloc(holders->words, sizeof(*none));
	holders_intern(holders, none);
	return holders;
}

void holders_free(struct holders *holders)
{
	if (!holders)
		return;
	HASH_CLEAR(hh, holders->by_bits);
	for (size_t i = 0; i < holders->sets.count; i++)
		free(holders->sets.items[i]);
	array_clear(&holders->sets);
	free(holders);
}

size_t holders_words(const struct holders *holders)
{
	return holders->words;
}

uint32_t holders_intern(struct holders *holders, const uint64_t *bits)
{
	size_t len = holders->words * sizeof(*bits);
	struct holder_set *set;

	HASH_FIND(hh, holders->by_bits, bits, len, set);
	if (set)
		return set->number;
	set = xmalloc(sizeof(*set) + len);
	memcpy(set->bits, bits, len);
	set->number = (uint32_t)holders->sets.count;
	HASH_ADD_KEYPTR(hh, holders->by_bits, set->bits, len, set);
	array_add(&holders->sets, set);
	return set->number;
}

uint32_t holders_unite(struct holders *holders, uint32_t a, uint32_t b)
{
	size_t slot = (a * 31UL + b) % PAIR_CACHE;
	AUTO_FREE uint64_t *sum = NULL;

	if (a == b || b == 0)
		return a;
	if (a == 0)
		return b;
	if (holders->pairs[slot].a == a && holders->pairs[slot].b == b)
		return holders->pairs[slot].sum;
	sum = xcalloc(holders->words, sizeof(*sum));
	for (size_t i = 0; i < holders->words; i++)
		sum[i] = holders->sets.items[a]->bits[i] | holders->sets.items[b]->bits[i];
	holders->pairs[slot].sum = holders_intern(holders, sum);
	holders->pairs[slot].a = a;
	holders->pairs[slot].b = b;
	return holders->pairs[slot].sum;
}

const uint64_t *holders_bits(const struct holders *holders, uint32_t set)
{
	return holders->sets.items[set]->bits;
}

uint32_t holders_count(const struct holders *holders)
{
	return (uint32_t)holders->sets.count;
}
