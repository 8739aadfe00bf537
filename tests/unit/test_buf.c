#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

static void test_numbers_come_back(void **state)
{
	AUTO_BUF buf = BUF_INIT;

	buf_add_u8(&buf, 0xa1);
	buf_add_le16(&buf, 0xb1b2);
	buf_add_le32(&buf, 0xc1c2c3c4);
	buf_add_le64(&buf, 0xd1d2d3d4d5d6d7d8);
	buf_add_be32(&buf, 0xe1e2e3e4);
	buf_add_be64(&buf, 0xf1f2f3f4f5f6f7f8);
	assert_int_equal(buf.len, 1 + 2 + 4 + 8 + 4 + 8);
	assert_memory_equal(buf.data, "\xa1\xb2\xb1\xc4\xc3\xc2\xc1", 7);
	assert_memory_equal(buf.data + 15, "\xe1\xe2\xe3\xe4\xf1\xf2", 6);

	struct reader reader = reader_over(buf.data, buf.len);
	assert_int_equal(read_u8(&reader), 0xa1);
	assert_int_equal(read_le16(&reader), 0xb1b2);
	assert_int_equal(read_le32(&reader), 0xc1c2c3c4);
	assert_true(read_le64(&reader) == 0xd1d2d3d4d5d6d7d8);
	assert_int_equal(read_be32(&reader), 0xe1e2e3e4);
	assert_true(read_be64(&reader) == 0xf1f2f3f4f5f6f7f8);
	assert_false(reader.bad);
	assert_int_equal(reader.left, 0);
}

static void test_reader_stays_in_bounds(void **state)
{
	struct reader reader = reader_over("abc", 3);

	assert_true(read_le32(&reader) == 0);
	assert_true(reader.bad);
	assert_int_equal(read_u8(&reader), 0);
	assert_null(read_bytes(&reader, 1));

	reader = reader_over("abc", 3);
	assert_null(read_bytes(&reader, SIZE_MAX));
	reader = reader_over(NULL, 0);
	assert_non_null(read_bytes(&reader, 0));
	assert_false(reader.bad);
	assert_int_equal(read_be64(&reader), 0);
	assert_true(reader.bad);
}

static void test_buffer_grows_and_keeps(void **state)
{
	AUTO_BUF buf = BUF_INIT;

	for (uint32_t i = 0; i < 10000; i++)
		buf_add_le32(&buf, i);
	struct reader reader = reader_over(buf.data, buf.len);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(read_le32(&reader), i);

	size_t cap = buf.cap;
	buf_reset(&buf);
	assert_int_equal(buf.len, 0);
	assert_int_equal(buf.cap, cap);
	buf_add(&buf, NULL, 0);
	buf_addf(&buf, "%s-%d", "x", 42);
	assert_int_equal(buf.len, 4);
	assert_string_equal((char *)buf.data, "x-42");
	buf_fit(&buf);
	assert_int_equal(buf.cap, 4);
	assert_memory_equal(buf.data, "x-42", 4);
	buf_reset(&buf);
	buf_fit(&buf);
	assert_null(buf.data);
	buf_add_u8(&buf, 1);
	buf_clear(&buf);
	assert_null(buf.data);
	buf_add_u8(&buf, 1);
	assert_int_equal(buf.len, 1);
}

static void test_steal_leaves_null(void **state)
{
	AUTO_FREE char *text = xasprintf("%d", 7);
	AUTO_FREE char *taken = steal_ptr(text);

	assert_null(text);
	assert_string_equal(taken, "7");
}

static void test_errors_tell(void **state)
{
	struct error error = {0};

	assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
	error_hint(NULL, "x");
	assert_int_equal(error_default(&error, -ENOENT, "file %d", 1), -ENOENT);
	assert_string_equal(error.text, "file 1: No such file or directory");
	assert_int_equal(error_default(&error, -EIO, "other"), -EIO);
	assert_string_equal(error.text, "file 1: No such file or directory");
	error_hint(&error, "try %s", "this");
	assert_string_equal(error.hint, "try this");
	assert_int_equal(error_set(&error, -EINVAL, "two\nlines"), -EINVAL);
	assert_string_equal(error.text, "two\nlines");
	assert_string_equal(error.hint, "");
}

static void test_clocks(void **state)
{
	char text[32];

	clock_format(1795253400, text);
	assert_string_equal(text, "2026-11-21T09:30:00Z");
	clock_format(INT64_MAX, text);
	assert_true(strlen(text) > 0);
	clock_format(INT64_MIN, text);
	assert_true(strlen(text) > 0);
	uint64_t before = clock_ms();
	struct timespec after = clock_after_ms(1999);
	assert_true((uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000 >= before + 1999);
	assert_true(after.tv_nsec < 1000000000);
	assert_true(clock_us() / 1000 >= before);
	assert_true(clock_now().tv_sec > 1600000000);
}

static void test_files_are_replaced_whole(void **state)
{
	char dir[] = "/tmp/corpusfs-buf.XXXXXX";
	AUTO_BUF content = BUF_INIT;
	struct stat st;

	assert_non_null(mkdtemp(dir));
	AUTO_FREE char *path = xasprintf("%s/file", dir);
	AUTO_FREE char *sub = xasprintf("%s/sub", dir);
	assert_int_equal(file_read(path, 100, &content), -ENOENT);
	assert_int_equal(file_replace(path, "one", 3, 0600), 0);
	assert_int_equal(file_replace(path, "second", 6, 0640), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(file_read(path, 6, &content), 0);
	assert_int_equal(content.len, 6);
	assert_memory_equal(content.data, "second", 6);
	assert_int_equal(file_read(path, 5, &content), -EFBIG);
	assert_int_equal(content.len, 6);
	AUTO_FREE char *nowhere = xasprintf("%s/none/file", dir);
	assert_int_equal(file_replace(nowhere, "x", 1, 0600), -ENOENT);

	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(file_empty_dir(dir), 0);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(rmdir(sub), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(file_empty_dir(dir), -ENOENT);
	assert_int_equal(file_sync_dir(dir), -ENOENT);
}

static void test_reading_all_meets_the_end(void **state)
{
	char bytes[8];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(file_write_all(fds[1], "abcdef", 6), 0);
	close(fds[1]);
	assert_int_equal(file_read_all(fds[0], bytes, 4), 0);
	assert_memory_equal(bytes, "abcd", 4);
	assert_int_equal(file_read_all(fds[0], bytes, 4), -EIO);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_come_back),
		cmocka_unit_test(test_reader_stays_in_bounds),
		cmocka_unit_test(test_buffer_grows_and_keeps),
		cmocka_unit_test(test_steal_leaves_null),
		cmocka_unit_test(test_errors_tell),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_files_are_replaced_whole),
		cmocka_unit_test(test_reading_all_meets_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
