#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/buf.h"
#include "lib/base/utf8.h"
#include "lib/transfer/acl_format.h"
#include "lib/transfer/archive_out.h"
#include "lib/transfer/spool.h"
#include "lib/transfer/stream_out.h"
#include "lib/transfer/trail.h"

/* --- text --- */

static void utf_8_is_what_the_rfc_says(void **state)
{
	static const char *const good[] = {"", "plain", "\xc3\xa4", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",     "\xc3",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xed\xa0\x80",
	                                  "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff",        "\xc3(",
	                                  "\xe2\x82("};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(utf8_is_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(utf8_is_valid(bad[i]));
}

static void add_entry(struct buf *acl, uint16_t tag, uint16_t rights, uint32_t id)
{
	buf_add_le16(acl, tag);
	buf_add_le16(acl, rights);
	buf_add_le32(acl, id);
}

static void an_acl_becomes_text_with_numbers(void **state)
{
	AUTO_BUF acl = BUF_INIT, text = BUF_INIT;

	buf_add_le32(&acl, 2);
	add_entry(&acl, 0x01, 6, UINT32_MAX);
	add_entry(&acl, 0x02, 7, 4000000000U);
	add_entry(&acl, 0x04, 1, UINT32_MAX);
	add_entry(&acl, 0x08, 4, 5);
	add_entry(&acl, 0x10, 6, UINT32_MAX);
	add_entry(&acl, 0x20, 0, UINT32_MAX);
	assert_int_equal(acl_format(acl.data, acl.len, &text), 0);
	buf_add_u8(&text, 0);
	assert_string_equal((char *)text.data, "user::rw-,user:4000000000:rwx,group::--x,group:5:r--,mask::rw-,other::---");
	/* The mask's bits are the group's in the mode; without the ACL the group has what it and the mask have. */
	assert_int_equal(acl_mode_without(acl.data, acl.len, 0100660), 0100600);
	assert_int_equal(acl_format(acl.data, acl.len - 1, &text), -EINVAL);
	assert_int_equal(acl_format("", 0, &text), -EINVAL);
	assert_int_equal(acl_mode_without("", 0, 0660), 0660);
}

static void a_trail_is_a_path(void **state)
{
	struct trail *a = trail_new(NULL, "a"), *b = trail_new(a, "long name");
	AUTO_BUF path = BUF_INIT;

	trail_add_path(NULL, &path);
	assert_int_equal(path.len, 0);
	buf_addf(&path, "./");
	trail_add_path(b, &path);
	assert_string_equal((char *)path.data, "./a/long name/");
	trail_put(a);
	trail_put(b);
}

/* --- spool --- */

struct seen {
	uint64_t at;
	bool wrong;
};

static int check_bytes(void *arg, const void *data, size_t len)
{
	struct seen *seen = arg;

	for (size_t i = 0; i < len; i++)
		seen->wrong |= ((const uint8_t *)data)[i] != (uint8_t)((seen->at + i) % 251);
	seen->at += len;
	return 0;
}

static void a_spool_gives_back_all_in_order(void **state)
{
	static const uint64_t totals[] = {0, 1000, 9 << 20, (20 << 20) + 7};
	uint8_t block[1000];

	for (size_t i = 0; i < ARRAY_SIZE(totals); i++) {
		struct spool *spool = spool_new();
		struct seen seen = {0};

		for (uint64_t at = 0; at < totals[i]; at += sizeof(block)) {
			const size_t len = MIN(sizeof(block), totals[i] - at);

			for (size_t j = 0; j < len; j++)
				block[j] = (uint8_t)((at + j) % 251);
			assert_int_equal(spool_add(spool, block, len), 0);
		}
		assert_int_equal(spool_read(spool, check_bytes, &seen), 0);
		assert_int_equal(seen.at, totals[i]);
		assert_false(seen.wrong);
		spool_free(spool);
	}
}

/* --- streams --- */

static bool never(void *arg)
{
	return false;
}

static bool count_down(void *arg)
{
	return (*(int *)arg)-- <= 0;
}

static void a_pipe_that_takes_nothing_is_given_up(void **state)
{
	int fds[2], asked = 3;
	uint8_t block[4096] = {0};
	struct stream_out *out;
	int r = 0;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	out = stream_out_new(fds[1], count_down, &asked);
	for (int i = 0; i < 1000 && r == 0; i++)
		r = stream_out_put(out, block, sizeof(block));
	if (r == 0)
		r = stream_out_flush(out);
	assert_int_equal(r, -ECANCELED);
	stream_out_free(out);
	close(fds[0]);
	close(fds[1]);
}

static void a_device_without_room_is_an_error(void **state)
{
	AUTO_CLOSE int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct stream_out *out = stream_out_new(fd, never, NULL);

	assert_int_equal(stream_out_put(out, "x", 1), 0);
	assert_int_equal(stream_out_position(out), 1);
	assert_int_equal(stream_out_flush(out), -ENOSPC);
	stream_out_free(out);
}

/* --- members --- */

static struct archive_out *begin(const char *format)
{
	struct archive_out *out;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(archive_out_new(fd, format, never, NULL, &out), 0);
	return out;
}

static void a_member_has_as_much_content_as_it_promised(void **state)
{
	static const char *const formats[] = {"tar", "tar.gz", "tar.zst", "zip"};
	const struct archive_member member = {.path = "f", .mode = S_IFREG | 0644, .size = 10};
	const struct archive_extra extra = {0};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		struct archive_out *out = begin(formats[i]);

		assert_int_equal(archive_out_member(out, &member, &extra), 0);
		assert_int_equal(archive_out_data(out, "01234", 5), 0);
		assert_int_equal(archive_out_data(out, "0123456", 7), -EIO);
		assert_int_equal(archive_out_done(out), -EIO);
		assert_int_equal(archive_out_hole(out, 5), 0);
		assert_int_equal(archive_out_done(out), 0);
		archive_out_free(out);
	}
}

static void what_a_format_cannot_hold_is_refused(void **state)
{
	const struct archive_extra extra = {0};
	AUTO_FREE char *longest = xmalloc(65536 + 1);
	struct archive_member member = {.path = longest, .mode = S_IFREG | 0644};
	struct archive_out *tar = begin("tar"), *zip = begin("zip"), *none;

	memset(longest, 'x', 65536);
	longest[65536] = '\0';
	assert_int_equal(archive_out_member(tar, &member, &extra), 0);
	assert_int_equal(archive_out_member(zip, &member, &extra), -EOPNOTSUPP);
	longest[65535] = '\0';
	assert_int_equal(archive_out_member(zip, &member, &extra), 0);
	member.mode = S_IFDIR | 0755; /* with its '/' */
	assert_int_equal(archive_out_member(zip, &member, &extra), -EOPNOTSUPP);
	member = (struct archive_member){.path = "\xff", .mode = S_IFREG | 0644};
	assert_int_equal(archive_out_member(tar, &member, &extra), 0);
	assert_int_equal(archive_out_member(zip, &member, &extra), -EOPNOTSUPP);
	member = (struct archive_member){.path = "socket", .mode = S_IFSOCK | 0644};
	assert_int_equal(archive_out_member(tar, &member, &extra), -EOPNOTSUPP);
	assert_int_equal(archive_out_new(1, "rar", never, NULL, &none), -EINVAL);
	archive_out_free(tar);
	archive_out_free(zip);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf_8_is_what_the_rfc_says),
		cmocka_unit_test(an_acl_becomes_text_with_numbers),
		cmocka_unit_test(a_trail_is_a_path),
		cmocka_unit_test(a_spool_gives_back_all_in_order),
		cmocka_unit_test(a_pipe_that_takes_nothing_is_given_up),
		cmocka_unit_test(a_device_without_room_is_an_error),
		cmocka_unit_test(a_member_has_as_much_content_as_it_promised),
		cmocka_unit_test(what_a_format_cannot_hold_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
