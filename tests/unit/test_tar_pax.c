#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/transfer/tar_header.h"
#include "lib/transfer/tar_pax.h"

static void expect_time(const char *text, int64_t seconds, long ns)
{
	struct timespec when;

	assert_int_equal(pax_time_parse(text, strlen(text), &when), 0);
	assert_int_equal(when.tv_sec, seconds);
	assert_int_equal(when.tv_nsec, ns);
}

static void times_are_numbers_with_a_sign_and_a_fraction(void **state)
{
	struct timespec when;

	expect_time("0", 0, 0);
	expect_time("1000000000.5", 1000000000, 500000000);
	expect_time("13569465600.125000001", 13569465600, 125000001);
	expect_time("-1", -1, 0);
	expect_time("-1.25", -2, 750000000);
	expect_time("-0.25", -1, 750000000);
	expect_time("-0.000000001", -1, 999999999);
	expect_time("-315619199.75", -315619200, 250000000);
	expect_time("1.0000000019", 1, 1);
	expect_time("-1.0000000019", -2, 999999998);
	expect_time("5.", 5, 0);
	for (const char *const *bad = (const char *const[]){"", "-", ".5", "1.x", "1e5", "99999999999999999999", " 1", NULL}; *bad; bad++)
		assert_int_equal(pax_time_parse(*bad, strlen(*bad), &when), -EBADMSG);
}

static void add_record(struct buf *records, const char *key, const void *value, size_t len)
{
	size_t rest = strlen(key) + len + 3, whole = rest + 1;

	while ((size_t)snprintf(NULL, 0, "%zu", whole) + rest != whole)
		whole++;
	buf_addf(records, "%zu %s=", whole, key);
	buf_add(records, value, len);
	buf_add(records, "\n", 1);
}

static void add(struct buf *records, const char *key, const char *value)
{
	add_record(records, key, value, strlen(value));
}

static void later_records_win_and_empty_ones_take_back(void **state)
{
	AUTO_BUF globals = BUF_INIT, records = BUF_INIT;
	struct pax pax = {0};

	add(&globals, "path", "global");
	add(&globals, "uid", "77");
	add(&globals, "mtime", "5");
	add(&records, "path", "a");
	add(&records, "path", "b\xff\xc3");
	add(&records, "uid", "");
	add(&records, "comment", "nobody asks");
	assert_int_equal(pax_parse(&pax, globals.data, globals.len), 0);
	assert_int_equal(pax_parse(&pax, records.data, records.len), 0);
	assert_string_equal((char *)pax.path.value.data, "b\xff\xc3");
	assert_false(pax.uid.is_set);
	assert_int_equal(pax.mtime.value.tv_sec, 5);
	pax_clear(&pax);
}

static void attributes_come_in_both_spellings(void **state)
{
	AUTO_BUF records = BUF_INIT;
	struct pax pax = {0};

	add_record(&records, "SCHILY.xattr.user.a%3Db%25", "\0=\n", 3);
	add(&records, "LIBARCHIVE.xattr.user.c%20d", "AP8=");
	add(&records, "SCHILY.xattr.user.e", "");
	add(&records, "LIBARCHIVE.xattr.user.e", "eA");
	assert_int_equal(pax_parse(&pax, records.data, records.len), 0);
	assert_int_equal(pax.xattrs.count, 3);
	assert_string_equal(pax.xattrs.items[0].name, "user.a=b%");
	assert_int_equal(pax.xattrs.items[0].value.len, 3);
	assert_memory_equal(pax.xattrs.items[0].value.data, "\0=\n", 3);
	assert_string_equal(pax.xattrs.items[1].name, "user.c d");
	assert_int_equal(pax.xattrs.items[1].value.len, 2);
	assert_memory_equal(pax.xattrs.items[1].value.data, "\0\xff", 2);
	assert_int_equal(pax.xattrs.items[2].value.len, 1);
	pax_clear(&pax);
}

static void what_cannot_be_read_is_damage_or_a_warning(void **state)
{
	static const char *const malformed[] = {"5 a=b", "6 a=b\nx", "8 path=a\n", "11 path=a\n", "4 a\n\n", "0 a=b\n", "x a=b\n", "6 ab\n\n",
	                                        "18446744073709551616 a=b\n", "3 =\n"};
	AUTO_BUF records = BUF_INIT, sizes = BUF_INIT;
	struct pax pax = {0};

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		assert_int_equal(pax_parse(&pax, malformed[i], strlen(malformed[i])), -EBADMSG);
		pax_clear(&pax);
	}
	add(&records, "mtime", "yesterday");
	add(&records, "uid", "-2");
	assert_int_equal(pax_parse(&pax, records.data, records.len), 0);
	assert_non_null(pax.warning);
	assert_false(pax.mtime.is_set || pax.uid.is_set);
	pax_clear(&pax);
	add(&sizes, "size", "-1");
	assert_int_equal(pax_parse(&pax, sizes.data, sizes.len), -EBADMSG);
	pax_clear(&pax);
}

static void stretches_come_as_a_map_or_one_by_one(void **state)
{
	AUTO_BUF map = BUF_INIT, single = BUF_INIT, odd = BUF_INIT;
	struct pax pax = {0};

	add(&map, "GNU.sparse.map", "0,5,100,7");
	assert_int_equal(pax_parse(&pax, map.data, map.len), 0);
	assert_int_equal(pax.stretches.count, 2);
	assert_int_equal(pax.stretches.items[1].offset, 100);
	pax_clear(&pax);
	add(&single, "GNU.sparse.offset", "3");
	add(&single, "GNU.sparse.numbytes", "4");
	add(&single, "GNU.sparse.offset", "9");
	add(&single, "GNU.sparse.numbytes", "1");
	assert_int_equal(pax_parse(&pax, single.data, single.len), 0);
	assert_int_equal(pax.stretches.count, 2);
	assert_int_equal(pax.stretches.items[1].len, 1);
	pax_clear(&pax);
	add(&odd, "GNU.sparse.map", "0,5,100");
	assert_int_equal(pax_parse(&pax, odd.data, odd.len), -EBADMSG);
	pax_clear(&pax);
}

/* --- headers --- */

static void put_checksum(uint8_t block[TAR_BLOCK])
{
	char text[9];
	unsigned sum = 0;

	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += block[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(block + 148, text, 7);
}

static void numbers_are_octal_or_binary(void **state)
{
	uint8_t block[TAR_BLOCK] = "name";
	struct tar_header header;

	memcpy(block + 100, "0000644", 8);
	memcpy(block + 108, "  17 \0", 6);
	memcpy(block + 124, "\x80\0\0\0\0\0\0\0\0\1\2\3", 12);
	memcpy(block + 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12);
	block[156] = TAR_FILE;
	put_checksum(block);
	assert_true(tar_is_header(block));
	assert_int_equal(tar_header_decode(block, &header), 0);
	assert_int_equal(header.mode, 0644);
	assert_int_equal(header.uid, 15);
	assert_int_equal(header.gid, 0);
	assert_int_equal(header.size, 0x010203);
	assert_int_equal(header.mtime, -2);
	block[124] = 0xff;
	memset(block + 125, 0xff, 11);
	assert_int_equal(tar_header_decode(block, &header), -EBADMSG);
	memcpy(block + 124, "00000000x", 9);
	assert_int_equal(tar_header_decode(block, &header), -EBADMSG);
	memcpy(block + 124, "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
	assert_int_equal(tar_header_decode(block, &header), -EBADMSG);
}

static void names_fill_their_fields(void **state)
{
	uint8_t block[TAR_BLOCK] = {0};
	AUTO_BUF name = BUF_INIT;

	memset(block, 'n', 100);
	memcpy(block + 257, "ustar\0" "00", 8);
	memset(block + 345, 'p', 155);
	tar_header_name(block, &name);
	assert_int_equal(name.len, 155 + 1 + 100 + 1);
	assert_int_equal(name.data[155], '/');
	/* GNU tar has something else in place of the prefix. */
	memcpy(block + 257, "ustar  ", 8);
	tar_header_name(block, &name);
	assert_int_equal(name.len, 101);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_numbers_with_a_sign_and_a_fraction),
		cmocka_unit_test(later_records_win_and_empty_ones_take_back),
		cmocka_unit_test(attributes_come_in_both_spellings),
		cmocka_unit_test(what_cannot_be_read_is_damage_or_a_warning),
		cmocka_unit_test(stretches_come_as_a_map_or_one_by_one),
		cmocka_unit_test(numbers_are_octal_or_binary),
		cmocka_unit_test(names_fill_their_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
