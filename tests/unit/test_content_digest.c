/* The digest of content, against the definition read byte by byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/identity/content_digest.h"
#include "tests/unit/identity_store.h"

#define PLAIN_MAX (1U << 20)
#define RUN_MIN 65536U

static void reference(const uint8_t *data, size_t len, uint8_t *out)
{
	struct digest *digest = digest_new();

	if (len > PLAIN_MAX)
		reference_sparse(data, len, out);
	else
		digest_once(digest, data, len, out);
	digest_free(digest);
}

static size_t zeros_at(const uint8_t *data, size_t len)
{
	size_t count = 0;

	while (count < len && data[count] == 0)
		count++;
	return count;
}

/* In pieces of any length; of what is zeros some are given as a hole. */
static void compute(const uint8_t *data, size_t len, uint64_t *random, uint8_t *out)
{
	struct digest *digest = digest_new();
	struct content_digest content;
	uint8_t sha256[DIGEST_LEN];
	bool is_sparse;

	content_digest_begin(&content, digest, len);
	for (size_t at = 0; at < len;) {
		size_t any = 1 + next_random(random) % 200000, piece = MIN(len - at, any), zeros = zeros_at(data + at, piece);
		if (zeros > 0 && next_random(random) % 2) {
			content_digest_zeros(&content, zeros);
			at += zeros;
		} else {
			content_digest_data(&content, data + at, piece);
			at += piece;
		}
	}
	content_digest_final(&content, out, &is_sparse);
	digest_once(digest, data, len, sha256);
	assert_int_equal(is_sparse, memcmp(out, sha256, DIGEST_LEN) != 0);
	digest_free(digest);
}

static void check_digest(const uint8_t *data, size_t len, uint64_t *random)
{
	uint8_t expected[DIGEST_LEN], found[DIGEST_LEN];

	reference(data, len, expected);
	for (unsigned i = 0; i < 3; i++) {
		compute(data, len, random, found);
		assert_memory_equal(found, expected, DIGEST_LEN);
	}
}

static void it_is_the_definition_whatever_is_given_as_a_hole(void **state)
{
	static const size_t runs[] = {1, 100, 4096, RUN_MIN - 1, RUN_MIN, RUN_MIN + 1, 3 * RUN_MIN, 900000};
	uint64_t random = 7;
	AUTO_FREE uint8_t *data = xmalloc(4U << 20);

	for (unsigned round = 0; round < 60; round++) {
		size_t len = next_random(&random) % (4U << 20);
		fill_random(round, data, len);
		for (uint64_t count = next_random(&random) % 12; count > 0 && len > 0; count--) {
			size_t any = runs[next_random(&random) % ARRAY_SIZE(runs)], run = MIN(any, len);
			size_t at = next_random(&random) % (len - run + 1);
			memset(data + at, 0, run);
		}
		check_digest(data, len, &random);
	}
}

static void runs_begin_at_a_length_and_count_in_longer_files_only(void **state)
{
	uint64_t random = 11;
	AUTO_FREE uint8_t *data = xmalloc(2U << 20);

	for (size_t len = PLAIN_MAX - 1; len <= PLAIN_MAX + 1; len++) {
		for (size_t run = RUN_MIN - 1; run <= RUN_MIN + 1; run++) {
			memset(data, 'x', len);
			memset(data, 0, run); /* at the beginning, in the middle, at the end */
			check_digest(data, len, &random);
			memset(data, 'x', len);
			memset(data + 300001, 0, run);
			check_digest(data, len, &random);
			memset(data, 'x', len);
			memset(data + len - run, 0, run);
			check_digest(data, len, &random);
		}
		memset(data, 0, len);
		check_digest(data, len, &random);
	}
}

/* Would it look at each, it would look for a lifetime. */
static void zeros_without_end_cost_nothing(void **state)
{
	struct digest *digest = digest_new();
	struct content_digest content;
	uint8_t one[DIGEST_LEN], other[DIGEST_LEN];
	bool is_sparse;

	content_digest_begin(&content, digest, 1ULL << 62);
	content_digest_data(&content, (const uint8_t *)"x", 1);
	content_digest_zeros(&content, (1ULL << 62) - 1);
	content_digest_final(&content, one, &is_sparse);
	assert_true(is_sparse);
	content_digest_begin(&content, digest, (1ULL << 62) - 1);
	content_digest_data(&content, (const uint8_t *)"x", 1);
	content_digest_zeros(&content, (1ULL << 62) - 2);
	content_digest_final(&content, other, &is_sparse);
	assert_memory_not_equal(one, other, DIGEST_LEN);
	digest_free(digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_the_definition_whatever_is_given_as_a_hole),
		cmocka_unit_test(runs_begin_at_a_length_and_count_in_longer_files_only),
		cmocka_unit_test(zeros_without_end_cost_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
