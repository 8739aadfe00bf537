/*
 * SHA-256, the identity of content: the only door to OpenSSL.
 *
 *   digest_new -> (digest_update* -> digest_final)* -> digest_free      digest_final makes the context ready for the next message
 *
 * A context belongs to one thread at a time. OpenSSL fails here only if it lacks memory or SHA-256 itself. Then the process ends: it could
 * keep no promise about content.
 */
#ifndef CORPUSFS_CHUNK_DIGEST_H
#define CORPUSFS_CHUNK_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32

struct digest;

struct digest *digest_new(void);
void digest_free(struct digest *digest); /* NULL is fine */
void digest_update(struct digest *digest, const void *data, size_t len);
void digest_final(struct digest *digest, uint8_t out[DIGEST_LEN]);

/* One message in one call; no other may be under way in this context. */
void digest_once(struct digest *digest, const void *data, size_t len, uint8_t out[DIGEST_LEN]);

/*
 * The same for many messages, faster where the processor can do several at once (lib/chunk/sha256_lanes.h). `jobs` changes its order.
 *
 * A message may come in pieces: `begun` is what all of them share, zero before the first one; each but the last one has no sha256 and a length that
 * is a multiple of DIGEST_PIECE, not 0. Only where digest_takes_pieces(): elsewhere it would gain nothing.
 */
#define DIGEST_PIECE 64U
struct digest_begun {
	uint32_t state[DIGEST_LEN / 4];
	uint64_t len;
};
struct digest_job {
	const void *data;
	size_t len;
	uint8_t *sha256; /* DIGEST_LEN bytes */
	struct digest_begun *begun; /* NULL: it is a whole message */
};
void digest_many(struct digest *digest, struct digest_job **jobs, size_t count);
bool digest_takes_pieces(const struct digest *digest);

#endif
