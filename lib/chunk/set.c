/*
 * Two sparse bitmaps, one per kind of chunk. Each is an array of pages; a page is made when the first bit in it is set, and stays. Threads
 * set bits and make pages without a lock.
 */
#include "lib/chunk/set.h"

#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/format/key.h"

#define PAGE_BITS 65536ULL
#define WORD_BITS 64ULL
#define PAGE_WORDS (PAGE_BITS / WORD_BITS)

struct bitmap {
	uint64_t end; /* ids without CHUNK_BULK */
	uint64_t page_count;
	uint64_t **pages;
};

struct chunk_set {
	struct bitmap small, bulk;
};

static void bitmap_init(struct bitmap *bitmap, uint64_t end)
{
	bitmap->end = end;
	bitmap->page_count = end / PAGE_BITS + 1;
	bitmap->pages = xcalloc(bitmap->page_count, sizeof(*bitmap->pages));
}

static void bitmap_clear(struct bitmap *bitmap)
{
	for (uint64_t i = 0; i < bitmap->page_count; i++)
		free(bitmap->pages[i]);
	free(bitmap->pages);
}

struct chunk_set *chunk_set_new(uint64_t bulk_end, uint64_t small_end)
{
	struct chunk_set *set = xcalloc(1, sizeof(*set));

	bitmap_init(&set->bulk, bulk_end & ~CHUNK_BULK);
	bitmap_init(&set->small, small_end);
	return set;
}

void chunk_set_free(struct chunk_set *set)
{
	if (!set)
		return;
	bitmap_clear(&set->bulk);
	bitmap_clear(&set->small);
	free(set);
}

static uint64_t *page_load(const struct bitmap *bitmap, uint64_t bit)
{
	return __atomic_load_n(&bitmap->pages[bit / PAGE_BITS], __ATOMIC_ACQUIRE);
}

static uint64_t *page_make(struct bitmap *bitmap, uint64_t bit)
{
	uint64_t *page = page_load(bitmap, bit), *fresh;

	if (page)
		return page;
	fresh = xcalloc(PAGE_WORDS, sizeof(*fresh));
	if (__atomic_compare_exchange_n(&bitmap->pages[bit / PAGE_BITS], &page, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return fresh;
	free(fresh);
	return page;
}

static const struct bitmap *bitmap_of(const struct chunk_set *set, uint64_t id)
{
	return id & CHUNK_BULK ? &set->bulk : &set->small;
}

void chunk_set_add(struct chunk_set *set, uint64_t id)
{
	struct bitmap *bitmap = id & CHUNK_BULK ? &set->bulk : &set->small;
	uint64_t bit = id & ~CHUNK_BULK;

	if (bit >= bitmap->end)
		return;
	__atomic_fetch_or(&page_make(bitmap, bit)[bit % PAGE_BITS / WORD_BITS], 1ULL << bit % WORD_BITS, __ATOMIC_RELAXED);
}

/* The word that holds `bit`; its bits are inverted if `flip` is all ones. */
static uint64_t word_of(const struct bitmap *bitmap, uint64_t bit, uint64_t flip)
{
	const uint64_t *page = page_load(bitmap, bit);

	return (page ? __atomic_load_n(&page[bit % PAGE_BITS / WORD_BITS], __ATOMIC_RELAXED) : 0) ^ flip;
}

bool chunk_set_has(const struct chunk_set *set, uint64_t id)
{
	const struct bitmap *bitmap = bitmap_of(set, id);
	uint64_t bit = id & ~CHUNK_BULK;

	return bit >= bitmap->end || word_of(bitmap, bit, 0) >> bit % WORD_BITS & 1;
}

static uint64_t next_bit(const struct bitmap *bitmap, uint64_t bit, uint64_t end, uint64_t flip)
{
	while (bit < end) {
		uint64_t word;

		if (!flip && bit % PAGE_BITS == 0 && !page_load(bitmap, bit)) {
			bit += PAGE_BITS;
			continue;
		}
		word = word_of(bitmap, bit, flip) >> bit % WORD_BITS;
		if (word)
			return MIN(bit + (uint64_t)__builtin_ctzll(word), end);
		bit += WORD_BITS - bit % WORD_BITS;
	}
	return end;
}

uint64_t chunk_set_next_absent(const struct chunk_set *set, uint64_t id, uint64_t end)
{
	const struct bitmap *bitmap = bitmap_of(set, id);
	uint64_t to = MIN(end & ~CHUNK_BULK, bitmap->end);
	uint64_t found = next_bit(bitmap, id & ~CHUNK_BULK, to, UINT64_MAX);

	return found == to ? end : found | (id & CHUNK_BULK);
}

uint64_t chunk_set_next_member(const struct chunk_set *set, uint64_t id, uint64_t end)
{
	const struct bitmap *bitmap = bitmap_of(set, id);
	uint64_t to = end & ~CHUNK_BULK;
	uint64_t found = next_bit(bitmap, id & ~CHUNK_BULK, MIN(to, bitmap->end), 0);

	return MIN(found, to) | (id & CHUNK_BULK);
}

uint64_t chunk_set_count(const struct chunk_set *set, uint64_t id, uint64_t end)
{
	const struct bitmap *bitmap = bitmap_of(set, id);
	uint64_t bit = id & ~CHUNK_BULK, to = end & ~CHUNK_BULK, known = MIN(to, bitmap->end);
	uint64_t count = to > bitmap->end ? to - MAX(bit, bitmap->end) : 0;

	while (bit < known) {
		uint64_t step = MIN(known - bit, WORD_BITS - bit % WORD_BITS);
		uint64_t word = word_of(bitmap, bit, 0) >> bit % WORD_BITS;

		count += (uint64_t)__builtin_popcountll(step < WORD_BITS ? word & ((1ULL << step) - 1) : word);
		bit += step;
	}
	return count;
}
