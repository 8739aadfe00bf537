/*
 * Where content is cut: FastCDC with normalised chunking (Xia et al., USENIX ATC 2016; two bytes per step, IEEE TPDS 2020).
 *
 * This header specifies the cut points: a store finds duplicates only if it cuts as it did before. All arithmetic is on
 * unsigned 64-bit integers, modulo 2^64.
 *
 *   gear[i]   the i-th output (from 0) of splitmix64 seeded with 0x636f727075736673 ("corpusfs")
 *   hash      0 before byte `min` of a piece; then hash = (hash << 1) + gear[byte] for each byte from `min` on
 *   cut       after the byte where (hash & mask) == 0; at `max` bytes at the latest
 *   mask      bits [62 - n, 62), with n = log2(average) + 2 for bytes before three quarters of `average`, log2(average) - 2 from there on
 *
 * Why three quarters: with the easy mask a piece goes on for another quarter on average, so pieces of random bytes have 0.94 of `average`.
 * (If the easy mask began at `average`, they would have 1.13 of it, and a second version of a text with an edit every 100 KB would share a
 * tenth less with the first.)
 *
 * So a piece has more than `min` and at most `max` bytes, except the last of a run. Any thread; nothing is allocated.
 */
#ifndef CORPUSFS_CHUNK_CUT_H
#define CORPUSFS_CHUNK_CUT_H

#include <stddef.h>
#include <stdint.h>

struct cut {
	uint32_t min, average, max; /* powers of two, min < average < max */
	uint32_t middle;            /* from here on cuts are easy */
	uint64_t mask_hard, mask_easy;
	uint64_t gear[256];
	uint64_t gear_twice[256]; /* gear << 1 */
};

void cut_init(struct cut *cut, uint32_t min, uint32_t average, uint32_t max);

/* The length of the first piece of `data`: `len` when there is no cut before its end. */
size_t cut_next(const struct cut *cut, const uint8_t *data, size_t len);

#endif
