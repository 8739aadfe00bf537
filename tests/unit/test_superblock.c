#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/format/superblock.h"

static struct superblock sample(void)
{
	return (struct superblock){.format = 1,
	                           .uuid = "7c0e0000-1111-2222-3333-0123456789ab",
	                           .created = 1795253400,
	                           .chunk_min = 16384,
	                           .chunk_average = 65536,
	                           .chunk_max = 262144};
}

static int decode(const struct superblock *superblock, struct superblock *ret, struct error *err)
{
	AUTO_BUF text = BUF_INIT;

	superblock_encode(superblock, &text);
	return superblock_decode("store/corpusfs", text.data, text.len, ret, err);
}

static void test_text_is_as_specified(void **state)
{
	static const char expected[] = "corpusfs store\nformat 1\nuuid 7c0e0000-1111-2222-3333-0123456789ab\n"
				       "created 2026-11-21T09:30:00Z\ncompat 0\nro-compat 0\nincompat 0\n"
				       "chunk-min 16384\nchunk-average 65536\nchunk-max 262144\ncheck ";
	struct superblock superblock = sample();
	AUTO_BUF text = BUF_INIT;

	superblock_encode(&superblock, &text);
	assert_int_equal(text.len, sizeof(expected) - 1 + 17);
	assert_memory_equal(text.data, expected, sizeof(expected) - 1);
}

static void test_it_comes_back(void **state)
{
	struct superblock superblock = sample(), back;

	superblock.compat = UINT64_MAX;
	assert_int_equal(decode(&superblock, &back, NULL), 0);
	assert_int_equal(back.format, 1);
	assert_string_equal(back.uuid, superblock.uuid);
	assert_true(back.created == superblock.created && back.compat == UINT64_MAX);
	assert_int_equal(back.chunk_min, 16384);
	assert_int_equal(back.chunk_average, 65536);
	assert_int_equal(back.chunk_max, 262144);
}

static void test_any_damage_is_refused(void **state)
{
	struct superblock superblock = sample(), back;
	AUTO_BUF text = BUF_INIT;
	struct error err;

	superblock_encode(&superblock, &text);
	for (size_t len = 0; len < text.len; len++) {
		AUTO_FREE uint8_t *copy = xmalloc(len);
		memcpy(copy, text.data, len);
		assert_int_equal(superblock_decode("x", copy, len, &back, &err), -EBADMSG);
	}
	for (size_t bit = 0; bit < text.len * 8; bit++) {
		text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(superblock_decode("x", text.data, text.len, &back, &err), -EBADMSG);
		text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_non_null(strstr(err.text, "damaged"));
	assert_true(strlen(err.hint) > 0);
	buf_add_u8(&text, '\n');
	assert_int_equal(superblock_decode("x", text.data, text.len, &back, NULL), -EBADMSG);
}

static void test_newer_and_unknown_are_told_apart_from_damage(void **state)
{
	struct superblock superblock = sample(), back;
	struct error err;

	superblock.format = 2;
	assert_int_equal(decode(&superblock, &back, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "format 2"));
	superblock = sample();
	superblock.incompat = 1ULL << 40;
	assert_int_equal(decode(&superblock, &back, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "uses feature 1099511627776, which"));
}

static void test_reserved_features_are_refused_by_name(void **state)
{
	struct superblock superblock = sample(), back;
	struct error err;

	superblock.incompat = 1;
	assert_int_equal(decode(&superblock, &back, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "uses encryption, which"));
	superblock.incompat = 3;
	assert_int_equal(decode(&superblock, &back, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "uses encryption, remote chunks, which"));
	assert_true(strlen(err.hint) > 0);
}

static void test_unknown_write_features_leave_it_readable(void **state)
{
	struct superblock superblock = sample(), back;

	assert_int_equal(decode(&superblock, &back, NULL), 0);
	assert_true(superblock_writable(&back));
	superblock.ro_compat = 1ULL << 63;
	assert_int_equal(decode(&superblock, &back, NULL), 0);
	assert_false(superblock_writable(&back));
}

static void test_impossible_values_are_refused(void **state)
{
	struct superblock superblock = sample(), back;

	superblock.chunk_min = 1U << 17;
	assert_int_equal(decode(&superblock, &back, NULL), -EBADMSG);
	superblock = sample();
	superblock.chunk_average = 65537;
	assert_int_equal(decode(&superblock, &back, NULL), -EBADMSG);
	superblock = sample();
	superblock.chunk_max = 1U << 25;
	assert_int_equal(decode(&superblock, &back, NULL), -EBADMSG);
	superblock = sample();
	superblock.uuid[8] = '0';
	assert_int_equal(decode(&superblock, &back, NULL), -EBADMSG);
	superblock = sample();
	superblock.format = 0;
	assert_int_equal(decode(&superblock, &back, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_as_specified),
		cmocka_unit_test(test_it_comes_back),
		cmocka_unit_test(test_any_damage_is_refused),
		cmocka_unit_test(test_newer_and_unknown_are_told_apart_from_damage),
		cmocka_unit_test(test_reserved_features_are_refused_by_name),
		cmocka_unit_test(test_unknown_write_features_leave_it_readable),
		cmocka_unit_test(test_impossible_values_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
