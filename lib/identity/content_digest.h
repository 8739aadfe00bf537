/*
 * The digest of a file's content, as lib/identity/identity.h defines it. For lib/identity, and for who writes the content down; one thread.
 *
 *   content_digest_begin -> (content_digest_data | content_digest_zeros)* -> content_digest_final, or content_digest_clear to give up
 *
 * What is given follows one another and adds up to `size`. It does not matter which zeros are given as zeros and which as data. Zeros that
 * belong to a run cost nothing, however many they are; others are hashed.
 */
#ifndef CORPUSFS_IDENTITY_CONTENT_DIGEST_H
#define CORPUSFS_IDENTITY_CONTENT_DIGEST_H

#include <stdbool.h>

#include "lib/chunk/digest.h"

#define CONTENT_PLAIN_MAX (1U << 20) /* bytes of a file whose content is always hashed as it is */
#define CONTENT_RUN_MIN (64U << 10)  /* zeros in a row that are a run, in longer files */

struct content_digest {
	struct digest *piece; /* of the bytes since the last run; the caller's, who gets it back empty */
	struct digest *list;  /* of the pieces; NULL: there was no run */
	uint64_t size, at;
	uint64_t piece_at;    /* where the piece begins */
	uint64_t zeros;       /* before `at`, not hashed yet */
};

void content_digest_begin(struct content_digest *content, struct digest *digest, uint64_t size);
void content_digest_data(struct content_digest *content, const uint8_t *data, size_t len);
void content_digest_zeros(struct content_digest *content, uint64_t len);
/* is_sparse: there are runs, and the digest is not the SHA-256 of the bytes. */
void content_digest_final(struct content_digest *content, uint8_t ret_digest[DIGEST_LEN], bool *ret_is_sparse);
void content_digest_clear(struct content_digest *content);

#endif
