#include "lib/chunk/digest.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "lib/base/buf.h"
#include "lib/chunk/sha256_lanes.h"

struct digest {
	EVP_MD *md; /* fetched once: the implicit fetch of OpenSSL 3 costs as much as hashing a kilobyte */
	EVP_MD_CTX *context;
	enum sha256_lanes lanes;
};

static void need(int ok)
{
	if (ok == 1)
		return;
	fputs("corpusfs: SHA-256 is not available from OpenSSL\n", stderr);
	abort();
}

struct digest *digest_new(void)
{
	struct digest *digest = xcalloc(1, sizeof(*digest));

	digest->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	digest->context = EVP_MD_CTX_new();
	need(digest->md && digest->context);
	need(EVP_DigestInit_ex2(digest->context, digest->md, NULL));
	digest->lanes = sha256_lanes_best();
	return digest;
}

void digest_free(struct digest *digest)
{
	if (!digest)
		return;
	EVP_MD_CTX_free(digest->context);
	EVP_MD_free(digest->md);
	free(digest);
}

void digest_update(struct digest *digest, const void *data, size_t len)
{
	need(EVP_DigestUpdate(digest->context, data, len));
}

void digest_final(struct digest *digest, uint8_t out[DIGEST_LEN])
{
	need(EVP_DigestFinal_ex(digest->context, out, NULL));
	need(EVP_DigestInit_ex2(digest->context, digest->md, NULL));
}

void digest_once(struct digest *digest, const void *data, size_t len, uint8_t out[DIGEST_LEN])
{
	digest_update(digest, data, len);
	digest_final(digest, out);
}

static int longest_first(const void *left, const void *right)
{
	const struct digest_job *a = *(struct digest_job *const *)left, *b = *(struct digest_job *const *)right;

	return a->len > b->len ? -1 : a->len < b->len;
}

bool digest_takes_pieces(const struct digest *digest)
{
	return digest->lanes == SHA256_LANES_PAIR;
}

void digest_many(struct digest *digest, struct digest_job **jobs, size_t count)
{
	size_t one_by_one = count;

	if (digest->lanes != SHA256_LANES_NONE && count > 0 && (count > 1 || jobs[0]->begun)) {
		qsort(jobs, count, sizeof(struct digest_job *), longest_first);
		one_by_one = digest->lanes == SHA256_LANES_WIDE ? sha256_lanes_left_out(jobs, count) : 0;
	}
	for (size_t i = 0; i < one_by_one; i++)
		digest_once(digest, jobs[i]->data, jobs[i]->len, jobs[i]->sha256);
	if (one_by_one < count)
		sha256_lanes(digest->lanes, jobs + one_by_one, count - one_by_one);
}
