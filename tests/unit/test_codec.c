#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/codec.h"
#include "lib/chunk/digest.h"

#define LEN 65536U

static int setup(void **state)
{
	*state = codec_new();
	return 0;
}

static int teardown(void **state)
{
	codec_free(*state);
	return 0;
}

static uint8_t *noise(size_t len)
{
	uint8_t *data = xmalloc(len);
	uint64_t seed = 7;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		data[i] = (uint8_t)(seed >> 56);
	}
	return data;
}

static uint8_t *text(size_t len)
{
	static const char words[] = "the quick brown fox jumps over the lazy dog; ";
	uint8_t *data = xmalloc(len);

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)words[i % (sizeof(words) - 1)];
	return data;
}

static void test_text_comes_back_as_it_was(void **state)
{
	static const size_t lengths[] = {200, 4096, 16383, 16384, LEN};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		size_t len = lengths[i], packed_len = 0;
		AUTO_FREE uint8_t *data = text(len);
		AUTO_FREE uint8_t *packed = NULL;
		AUTO_FREE uint8_t *back = xmalloc(len);

		assert_int_equal(codec_pack(*state, data, len, 3, &packed, &packed_len), 1);
		assert_true(packed_len <= len - len / 16);
		assert_int_equal(codec_unpack(*state, packed, packed_len, back, len), 0);
		assert_memory_equal(back, data, len);
	}
}

static void test_noise_is_left_plain(void **state)
{
	AUTO_FREE uint8_t *data = noise(LEN);
	uint8_t *packed = NULL;
	size_t packed_len;

	assert_false(codec_try(*state, data, LEN, 1));
	assert_false(codec_try(*state, data, LEN, 3));
	assert_int_equal(codec_pack(*state, data, LEN, 3, &packed, &packed_len), 0);
	assert_int_equal(codec_pack(*state, data, 1000, 3, &packed, &packed_len), 0);
	assert_null(packed);
}

static void test_noise_behind_a_compressible_head_is_left_plain(void **state)
{
	AUTO_FREE uint8_t *data = noise(LEN);
	uint8_t *packed = NULL;
	size_t packed_len;

	memset(data, 0, 4000);
	assert_int_equal(codec_pack(*state, data, LEN, 3, &packed, &packed_len), 0);
	assert_null(packed);
}

/* Noise with a stripe of text in every `every` of 4 KiB, which zstd makes almost nothing of. */
static uint8_t *striped(size_t len, size_t every)
{
	AUTO_FREE uint8_t *words = text(4096);
	uint8_t *data = noise(len);

	for (size_t at = 0; at < len; at += 4096 * every)
		memcpy(data + at, words, 4096);
	return data;
}

static void test_level_one_asks_for_a_fifth_and_others_for_a_sixteenth(void **state)
{
	AUTO_FREE uint8_t *quarter = striped(LEN, 4), *eighth = striped(LEN, 8), *thirtysecond = striped(2 * LEN, 32);
	AUTO_FREE uint8_t *one = NULL, *two = NULL;
	uint8_t *none = NULL;
	size_t len = 0;

	assert_int_equal(codec_pack(*state, quarter, LEN, 1, &one, &len), 1);
	assert_true(len <= LEN - LEN / 5);
	assert_int_equal(codec_pack(*state, eighth, LEN, 1, &none, &len), 0);
	assert_int_equal(codec_pack(*state, eighth, LEN, 2, &two, &len), 1);
	assert_in_range(len, LEN - LEN / 5 + 1, LEN - LEN / 16);
	assert_int_equal(codec_pack(*state, thirtysecond, 2 * LEN, 2, &none, &len), 0);
	assert_null(none);
}

static void test_where_space_counts_a_sixteenth_is_worth_it_at_level_one(void **state)
{
	AUTO_FREE uint8_t *eighth = striped(LEN, 8), *thirtysecond = striped(2 * LEN, 32);
	AUTO_FREE uint8_t *tight = NULL;
	uint8_t *none = NULL;
	size_t len = 0;

	assert_int_equal(codec_pack_tight(*state, eighth, LEN, 1, &tight, &len), 1);
	assert_in_range(len, LEN - LEN / 5 + 1, LEN - LEN / 16);
	assert_int_equal(codec_pack_tight(*state, thirtysecond, 2 * LEN, 1, &none, &len), 0);
	assert_int_equal(codec_pack_tight(*state, eighth, LEN, 0, &none, &len), 0);
	assert_null(none);
}

/* Noise and few values by turns, nothing repeated: their codes alone save what level 1 would, but for a part that is not worth its time. */
static void test_where_only_codes_help_they_are_what_level_one_uses(void **state)
{
	AUTO_FREE uint8_t *data = noise(LEN), *back = xmalloc(LEN);
	AUTO_FREE uint8_t *codes = NULL, *all = NULL;
	size_t codes_len = 0, all_len = 0;

	for (size_t i = 0; i < LEN; i++)
		if (i / 4096 % 2)
			data[i] &= 0x1f;
	assert_int_equal(codec_pack_tight(*state, data, LEN, 1, &codes, &codes_len), 1);
	assert_in_range(codes_len, LEN - LEN / 5 + 1, LEN - LEN / 16);
	assert_int_equal(codec_unpack(*state, codes, codes_len, back, LEN), 0);
	assert_memory_equal(back, data, LEN);
	/* what was set for it does not stay */
	assert_int_equal(codec_pack_tight(*state, data, LEN, 3, &all, &all_len), 1);
	assert_int_equal(codec_unpack(*state, all, all_len, back, LEN), 0);
	assert_memory_equal(back, data, LEN);
}

/* Few values, no repetitions: what the frequencies tell without any matches. */
static void test_few_values_are_worth_packing(void **state)
{
	AUTO_FREE uint8_t *data = noise(LEN);
	AUTO_FREE uint8_t *packed = NULL;
	size_t len = 0;

	for (size_t i = 0; i < LEN; i++)
		data[i] &= 0x1f;
	assert_true(codec_try(*state, data, LEN, 1));
	assert_int_equal(codec_pack(*state, data, LEN, 1, &packed, &len), 1);
}

/* All values alike frequent, everything repeated. */
static void test_repetitions_are_worth_packing(void **state)
{
	AUTO_FREE uint8_t *data = noise(LEN);
	AUTO_FREE uint8_t *packed = NULL;
	size_t len = 0;

	for (size_t at = 512; at < LEN; at += 512)
		memcpy(data + at, data, 512);
	assert_true(codec_try(*state, data, LEN, 1));
	assert_int_equal(codec_pack(*state, data, LEN, 1, &packed, &len), 1);
}

static void test_level_zero_never_compresses(void **state)
{
	AUTO_FREE uint8_t *data = text(LEN);
	uint8_t *packed = NULL;
	size_t packed_len;

	assert_int_equal(codec_pack(*state, data, LEN, 0, &packed, &packed_len), 0);
	assert_null(packed);
}

static void test_wrong_lengths_and_garbage_are_refused(void **state)
{
	AUTO_FREE uint8_t *data = text(LEN);
	AUTO_FREE uint8_t *packed = NULL;
	AUTO_FREE uint8_t *back = xmalloc(LEN + 1);
	size_t packed_len = 0;

	assert_int_equal(codec_pack(*state, data, LEN, 3, &packed, &packed_len), 1);
	assert_int_equal(codec_unpack(*state, packed, packed_len, back, LEN - 1), -EBADMSG);
	assert_int_equal(codec_unpack(*state, packed, packed_len, back, LEN + 1), -EBADMSG);
	assert_int_equal(codec_unpack(*state, packed, packed_len - 1, back, LEN), -EBADMSG);
	assert_int_equal(codec_unpack(*state, packed, 0, back, LEN), -EBADMSG);
	assert_int_equal(codec_unpack(*state, data, LEN, back, LEN), -EBADMSG);
	assert_int_equal(codec_unpack(*state, packed, packed_len, back, LEN), 0);
}

static void test_digest_of_known_messages(void **state)
{
	static const uint8_t abc[DIGEST_LEN] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
	                                        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
	                                        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	struct digest *digest = digest_new();
	uint8_t out[DIGEST_LEN];

	digest_once(digest, "abc", 3, out);
	assert_memory_equal(out, abc, DIGEST_LEN);
	digest_update(digest, "a", 1);
	digest_update(digest, "bc", 2);
	digest_final(digest, out);
	assert_memory_equal(out, abc, DIGEST_LEN);
	digest_free(digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text_comes_back_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise_is_left_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise_behind_a_compressible_head_is_left_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level_one_asks_for_a_fifth_and_others_for_a_sixteenth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_where_space_counts_a_sixteenth_is_worth_it_at_level_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_where_only_codes_help_they_are_what_level_one_uses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_values_are_worth_packing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_repetitions_are_worth_packing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level_zero_never_compresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_lengths_and_garbage_are_refused, setup, teardown),
		cmocka_unit_test(test_digest_of_known_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
