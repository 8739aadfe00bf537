#include "lib/chunk/cut.h"

#include <stdbool.h>

#include "lib/base/clean.h"

#define GEAR_SEED 0x636f727075736673ULL
/* The mask's upper end is 62, not 64: the doubled mask of the two-byte step must fit. */
#define MASK_END 62
/* Bytes that the hash remembers: what is older has been shifted out. */
#define HASH_BYTES 64
/* Two stretches of this length are scanned at once. */
#define LANE 1024

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint64_t mask_of(unsigned bits)
{
	return ((1ULL << bits) - 1) << (MASK_END - bits);
}

void cut_init(struct cut *cut, uint32_t min, uint32_t average, uint32_t max)
{
	unsigned bits = 31 - (unsigned)__builtin_clz(average);
	uint64_t state = GEAR_SEED;

	cut->min = min;
	cut->average = average;
	cut->max = max;
	cut->middle = average / 4 * 3;
	cut->mask_hard = mask_of(bits + 2);
	cut->mask_easy = mask_of(bits - 2);
	for (size_t i = 0; i < ARRAY_SIZE(cut->gear); i++) {
		cut->gear[i] = splitmix64(&state);
		cut->gear_twice[i] = cut->gear[i] << 1;
	}
}

/*
 * Rolls over [at, end) and returns the length up to a cut, or 0. Two bytes per step: for the first of a pair the hash is kept shifted by
 * one place, and is tested against the shifted mask, which saves one of two shifts on the critical path; the cuts are the same.
 */
static size_t scan_tail(const struct cut *cut, const uint8_t *data, size_t at, size_t end, uint64_t mask, uint64_t *hash)
{
	const uint64_t mask_twice = mask << 1;
	uint64_t h = *hash;

	for (; at + 2 <= end; at += 2) {
		h = (h << 2) + cut->gear_twice[data[at]];
		if (!(h & mask_twice))
			return at + 1;
		h += cut->gear[data[at + 1]];
		if (!(h & mask))
			return at + 2;
	}
	if (at < end) {
		h = (h << 1) + cut->gear[data[at]];
		if (!(h & mask))
			return at + 1;
	}
	*hash = h;
	return 0;
}

/* Whether there is a cut within two lanes from data on; the hash at their end. The second lane's hash begins with the end of the first. */
static bool lanes_have_cut(const struct cut *cut, const uint8_t *data, uint64_t mask, uint64_t *hash)
{
	const uint64_t mask_twice = mask << 1;
	const uint8_t *second = data + LANE;
	uint64_t a = *hash, b = 0;

	for (size_t i = LANE - HASH_BYTES; i < LANE; i++)
		b = (b << 1) + cut->gear[data[i]];
	for (size_t i = 0; i < LANE; i += 2) {
		a = (a << 2) + cut->gear_twice[data[i]];
		b = (b << 2) + cut->gear_twice[second[i]];
		if (!(a & mask_twice) || !(b & mask_twice))
			return true;
		a += cut->gear[data[i + 1]];
		b += cut->gear[second[i + 1]];
		if (!(a & mask) || !(b & mask))
			return true;
	}
	*hash = b;
	return false;
}

/*
 * The same, faster: each hash waits for the one before, which leaves most of a core idle, so two stretches are scanned side by side. Where
 * one has a cut, which is rare, both are scanned again in order.
 */
static size_t scan(const struct cut *cut, const uint8_t *data, size_t at, size_t end, uint64_t mask, uint64_t *hash)
{
	while (at + 2 * (size_t)LANE <= end && !lanes_have_cut(cut, data + at, mask, hash))
		at += 2 * (size_t)LANE;
	return scan_tail(cut, data, at, end, mask, hash);
}

size_t cut_next(const struct cut *cut, const uint8_t *data, size_t len)
{
	size_t end = MIN(len, cut->max), middle = MIN(end, cut->middle), found;
	uint64_t hash = 0;

	if (end <= cut->min)
		return end;
	found = scan(cut, data, cut->min, middle, cut->mask_hard, &hash);
	if (!found)
		found = scan(cut, data, middle, end, cut->mask_easy, &hash);
	return found ? found : end;
}
