/*
 * SHA-256 of many messages at once. A message's rounds wait for each other, which leaves most of a core idle even with the instructions for
 * SHA-256; messages side by side do not. There are
 *
 *   16 lanes of AVX-512: on a Xeon of 2023 with pieces of 64 KiB 2.6 GB/s instead of 1.4 GB/s with OpenSSL, which uses the instructions for SHA-256
 *   2 lanes of these instructions, where AVX-512 is missing: on an EPYC 2.6 GB/s instead of 1.4 GB/s (on that Xeon 1.65 GB/s)
 */
#ifndef CORPUSFS_CHUNK_SHA256_LANES_H
#define CORPUSFS_CHUNK_SHA256_LANES_H

#include <stdbool.h>

#include "lib/chunk/digest.h"

enum sha256_lanes {
	SHA256_LANES_NONE,
	SHA256_LANES_PAIR,
	SHA256_LANES_WIDE,
};
bool sha256_lanes_has(enum sha256_lanes lanes); /* this processor has them */
enum sha256_lanes sha256_lanes_best(void);

/* Only of lanes that there are. It takes as long as the longest lane: messages come longest first, and each goes where there is room first. */
void sha256_lanes(enum sha256_lanes lanes, struct digest_job *const *jobs, size_t count);

/* How many of the first jobs, which are the longest, are better hashed one by one, so that the wide lanes fill evenly with the rest. */
size_t sha256_lanes_left_out(struct digest_job *const *jobs, size_t count);

#endif
