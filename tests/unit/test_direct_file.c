#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/direct_file.h"
#include "lib/base/file.h"
#include "lib/base/pages.h"

#define MIB ((size_t)1 << 20)

/* What a filesystem says to who writes past the page cache, in the place of the C library's calls; 0: what this one says. */
static int unable;
static unsigned refused;

static bool refuses(int fd)
{
	if (!unable || !(fcntl(fd, F_GETFL) & O_DIRECT))
		return false;
	refused++;
	errno = unable;
	return true;
}

ssize_t write(int fd, const void *data, size_t len)
{
	return refuses(fd) ? -1 : syscall(SYS_write, fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return refuses(fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, offset);
}

static int remove_file(void **state)
{
	(void)!unlink(*state);
	free(*state);
	return 0;
}

static int name_file(void **state)
{
	char path[] = "/var/tmp/corpusfs-direct.XXXXXX";
	const int fd = mkstemp(path);

	*state = xstrdup(path);
	return fd < 0 ? -1 : close(fd);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 131 + (i >> 8) + (i >> 17));
}

/* Writes `len` bytes, `step` at a time. */
static void write_file(const char *path, size_t len, size_t step)
{
	AUTO_FREE uint8_t *data = xmalloc(len);
	struct direct_file *file;

	for (size_t i = 0; i < len; i++)
		data[i] = byte_at(i);
	assert_int_equal(direct_file_new(path, &file), 0);
	for (size_t at = 0; at < len; at += step)
		assert_int_equal(direct_file_add(file, data + at, MIN(step, len - at)), 0);
	assert_int_equal(direct_file_end(file), 0);
	direct_file_free(file);
}

static void expect_file(const char *path, size_t len)
{
	AUTO_BUF content = BUF_INIT;

	assert_int_equal(file_read(path, 64 * MIB, &content), 0);
	assert_int_equal(content.len, len);
	for (size_t i = 0; i < len; i++)
		if (content.data[i] != byte_at(i))
			fail_msg("byte %zu of %zu is wrong", i, len);
}

static void test_files_of_all_lengths_hold_what_was_added(void **state)
{
	static const size_t lens[] = {0, 1, 4095, 4096, 4097, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 12345};

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		write_file(*state, lens[i], 77777);
		expect_file(*state, lens[i]);
		write_file(*state, lens[i], 3 * MIB);
		expect_file(*state, lens[i]);
	}
}

static void test_a_longer_file_is_overwritten(void **state)
{
	write_file(*state, 3 * MIB, MIB);
	write_file(*state, 100, 100);
	expect_file(*state, 100);
}

/* /dev/full takes nothing past the page cache, and has no room. */
static void test_a_full_disk_is_told_and_told_again(void **state)
{
	AUTO_FREE uint8_t *data = xcalloc(1, 3 * MIB);
	struct direct_file *file;

	(void)state;
	assert_int_equal(direct_file_new("/dev/full", &file), 0);
	assert_int_equal(direct_file_add(file, data, 10), 0);
	assert_int_equal(direct_file_add(file, data, 3 * MIB), -ENOSPC);
	assert_int_equal(direct_file_add(file, data, 10), -ENOSPC);
	assert_int_equal(direct_file_end(file), -ENOSPC);
	direct_file_free(file);
	direct_file_free(NULL);
}

static void test_a_file_in_no_directory_is_not_made(void **state)
{
	struct direct_file *file;

	(void)state;
	assert_int_equal(direct_file_new("/nonexistent/x", &file), -ENOENT);
}

/* Of memory that begins `skew` bytes behind a multiple of 4096, behind `before` bytes that are in the file already. */
static void write_at_once(const char *path, size_t before, size_t len, size_t skew)
{
	uint8_t *data = pages_alloc(8 * MIB), *from = data + skew;
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	const int flags = fcntl(fd, F_GETFL);

	for (size_t i = 0; i < before; i++)
		from[i] = byte_at(i);
	assert_int_equal(file_write_all(fd, from, before), 0);
	for (size_t i = 0; i < len; i++)
		from[i] = byte_at(before + i);
	assert_int_equal(direct_write(fd, from, len), 0);
	assert_int_equal(fcntl(fd, F_GETFL), flags);
	free(data);
}

static void test_what_is_written_at_once_is_there_wherever_it_lies_in_memory(void **state)
{
	static const size_t lens[] = {0, 1, 4095, 4096, 4097, 2 * MIB, 5 * MIB + 12345};

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		write_at_once(*state, 0, lens[i], 0);
		expect_file(*state, lens[i]);
		write_at_once(*state, 0, lens[i], 16);
		expect_file(*state, lens[i]);
		write_at_once(*state, 100, lens[i], 0); /* a place in the file where nothing can be written past the page cache */
		expect_file(*state, 100 + lens[i]);
	}
}

static void test_writing_at_once_tells_of_a_full_disk(void **state)
{
	uint8_t *data = pages_alloc(2 * MIB);
	AUTO_CLOSE int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	memset(data, 0, 2 * MIB);
	assert_int_equal(direct_write(fd, data, 2 * MIB), -ENOSPC);
	assert_int_equal(direct_write(fd, data + 1, 10), -ENOSPC);
	free(data);
}

static void test_one_writer_serves_several_descriptors(void **state)
{
	static const size_t lens[] = {5 * MIB + 12345, 0, 100, 2 * MIB};
	struct direct_file *file = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		AUTO_FREE uint8_t *data = xmalloc(lens[i] + 1);
		AUTO_CLOSE int fd = open(*state, O_WRONLY | O_TRUNC | O_CLOEXEC);

		for (size_t at = 0; at < lens[i]; at++)
			data[at] = byte_at(at);
		assert_int_equal(direct_file_over(fd, &file), 0);
		assert_int_equal(direct_file_add(file, data, lens[i]), 0);
		assert_int_equal(direct_file_finish(file), 0);
		expect_file(*state, lens[i]);
	}
	direct_file_free(file);
}

static void test_any_range_is_read_past_the_page_cache(void **state)
{
	static const size_t offsets[] = {0, 1, 4095, 4096, 100000}, lens[] = {8192, 8193, 12287, 70000, 300000};
	const size_t size = 500000;
	uint8_t *room = pages_alloc(2 * MIB);

	write_file(*state, size, MIB);
	for (size_t i = 0; i < ARRAY_SIZE(offsets) * ARRAY_SIZE(lens); i++) {
		const size_t offset = offsets[i % ARRAY_SIZE(offsets)], len = lens[i / ARRAY_SIZE(offsets)];
		uint8_t *to = room + DIRECT_ALIGNMENT + offset % DIRECT_ALIGNMENT;
		AUTO_CLOSE int fd = open(*state, O_RDONLY | O_DIRECT | O_CLOEXEC);

		memset(room, 0xee, 2 * MIB);
		assert_true(fd >= 0 && direct_can_read(to, len, offset));
		assert_int_equal(direct_read(fd, to, len, offset), 0);
		for (size_t at = 0; at < len; at++)
			if (to[at] != byte_at(offset + at))
				fail_msg("byte %zu of %zu at %zu is wrong", at, len, offset);
		assert_true(to[-1] == 0xee && to[len] == 0xee);
	}
	free(room);
}

/* What ends with the file is had, and what goes on behind it is not. */
static void test_the_end_of_a_file_is_read_past_the_page_cache(void **state)
{
	const size_t size = 500000, len = 100000, offset = size - len;
	uint8_t *room = pages_alloc(2 * MIB), *to = room + offset % DIRECT_ALIGNMENT;

	write_file(*state, size, MIB);
	AUTO_CLOSE int fd = open(*state, O_RDONLY | O_DIRECT | O_CLOEXEC);
	assert_int_equal(direct_read(fd, to, len, offset), 0);
	for (size_t at = 0; at < len; at++)
		if (to[at] != byte_at(offset + at))
			fail_msg("byte %zu is wrong", at);
	assert_int_equal(direct_read(fd, to, len + 1, offset), -EINVAL);
	assert_false(direct_can_read(to + 1, len, offset));
	free(room);
}

static void test_filesystem_that_cannot_gets_a_usual_file_whatever_it_calls_that(void **state)
{
	static const int codes[] = {EINVAL, EOPNOTSUPP, ENOSYS, ENOTTY};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		unable = codes[i];
		refused = 0;
		write_file(*state, 3 * MIB + 1, MIB);
		expect_file(*state, 3 * MIB + 1);
		write_at_once(*state, 0, 3 * MIB + 1, 0);
		unable = 0;
		assert_true(refused >= 2);
		expect_file(*state, 3 * MIB + 1);
	}
}

static void test_disk_that_fails_is_told(void **state)
{
	uint8_t *data = pages_alloc(2 * MIB);
	AUTO_CLOSE int fd = open(*state, O_WRONLY | O_CLOEXEC);

	memset(data, 0, 2 * MIB);
	unable = EIO;
	assert_int_equal(direct_write(fd, data, 2 * MIB), -EIO);
	unable = 0;
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files_of_all_lengths_hold_what_was_added, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_a_longer_file_is_overwritten, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_what_is_written_at_once_is_there_wherever_it_lies_in_memory, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_one_writer_serves_several_descriptors, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_any_range_is_read_past_the_page_cache, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_the_end_of_a_file_is_read_past_the_page_cache, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_filesystem_that_cannot_gets_a_usual_file_whatever_it_calls_that, name_file, remove_file),
		cmocka_unit_test_setup_teardown(test_disk_that_fails_is_told, name_file, remove_file),
		cmocka_unit_test(test_writing_at_once_tells_of_a_full_disk),
		cmocka_unit_test(test_a_full_disk_is_told_and_told_again),
		cmocka_unit_test(test_a_file_in_no_directory_is_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
