#include "fs/supervise/untold.h"

#include <string.h>

#define LOST_ROUNDS 2 /* the round that is under way may have begun before, and does not tell it */

_Static_assert(sizeof(struct untold_change) == 16, "no padding is left to the next daemon");

static void put(struct untold *untold, uint64_t at, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		untold->bytes[(at + i) % UNTOLD_BYTES] = ((const uint8_t *)data)[i];
}

static void get(const struct untold *untold, uint64_t at, void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = untold->bytes[(at + i) % UNTOLD_BYTES];
}

/* Inodes that follow each other have bits that do, too. */
static uint64_t bit_of(uint32_t view, uint64_t ino)
{
	return (ino + (view * 0x9e3779b97f4a7c15ULL >> 44)) % UNTOLD_BITS;
}

static void note_lost(struct untold *untold, const struct untold_change *change)
{
	const uint64_t bit = bit_of(change->view, change->ino);

	atomic_fetch_or(&untold->lost_bits[bit / 64], 1ULL << bit % 64);
	atomic_store(&untold->lost, LOST_ROUNDS);
}

static void fill_bits(struct untold *untold, uint64_t with)
{
	for (size_t i = 0; i < UNTOLD_BITS / 64; i++)
		atomic_store_explicit(&untold->lost_bits[i], with, memory_order_relaxed);
}

void untold_add(struct untold *untold, const struct untold_change *change, const char *name)
{
	const uint64_t to = atomic_load(&untold->to);
	struct untold_change put_change = *change;
	const size_t len = strnlen(name, UNTOLD_NAME_MAX);

	if (to - atomic_load(&untold->from) + sizeof(put_change) + len > UNTOLD_BYTES) {
		note_lost(untold, change);
		return;
	}
	put_change.len = (uint8_t)len;
	put(untold, to, &put_change, sizeof(put_change));
	put(untold, to + sizeof(put_change), name, len);
	atomic_store(&untold->to, to + sizeof(put_change) + len);
}

uint64_t untold_end(const struct untold *untold)
{
	return atomic_load(&untold->to);
}

void untold_told(struct untold *untold, uint64_t end)
{
	const uint32_t lost = atomic_load(&untold->lost);

	atomic_store(&untold->from, end);
	if (lost > 0)
		atomic_store(&untold->lost, lost - 1);
	if (lost == 1)
		fill_bits(untold, 0);
}

static bool nonsense(struct untold *untold)
{
	fill_bits(untold, UINT64_MAX);
	atomic_store(&untold->lost, LOST_ROUNDS);
	return false;
}

bool untold_each(struct untold *untold, void (*each)(void *arg, const struct untold_change *change, const char *name), void *arg)
{
	const uint64_t to = atomic_load(&untold->to);
	uint64_t at = atomic_load(&untold->from);

	if (to - at > UNTOLD_BYTES)
		return nonsense(untold);
	while (at < to) {
		char name[UNTOLD_NAME_MAX + 1] = {0};
		struct untold_change change;

		if (to - at < sizeof(change))
			return nonsense(untold);
		get(untold, at, &change, sizeof(change));
		at += sizeof(change);
		if (to - at < change.len)
			return nonsense(untold);
		get(untold, at, name, change.len);
		at += change.len;
		each(arg, &change, name);
	}
	return atomic_load(&untold->lost) == 0;
}

uint64_t untold_next_lost(const struct untold *untold, uint32_t view, uint64_t from, uint64_t end)
{
	while (from < end) {
		const uint64_t bit = bit_of(view, from);
		const uint64_t left = atomic_load_explicit(&untold->lost_bits[bit / 64], memory_order_relaxed) >> bit % 64;

		if (left) {
			from += (uint64_t)__builtin_ctzll(left);
			break;
		}
		from += 64 - bit % 64;
	}
	return from < end ? from : end;
}
