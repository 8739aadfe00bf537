#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "lib/base/buf.h"
#include "lib/transfer/archive_in.h"

#define FILES 3
#define FILE_LEN 700

/* --- archives in memory --- */

static void content_of(unsigned number, uint8_t data[FILE_LEN])
{
	uint32_t seed = number + 1;

	/* Half of it can be compressed. */
	for (size_t i = 0; i < FILE_LEN; i++)
		data[i] = i < FILE_LEN / 2 ? (uint8_t)('a' + number) : (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
}

static void add_files(struct archive *archive)
{
	for (unsigned i = 0; i < FILES; i++) {
		struct archive_entry *entry = archive_entry_new();
		uint8_t data[FILE_LEN];
		char name[] = "file-0";

		content_of(i, data);
		name[5] = (char)('0' + i);
		archive_entry_set_pathname(entry, name);
		archive_entry_set_mode(entry, S_IFREG | 0644);
		archive_entry_set_size(entry, FILE_LEN);
		archive_entry_set_mtime(entry, 1000000000, 0);
		assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
		assert_int_equal(archive_write_data(archive, data, FILE_LEN), FILE_LEN);
		archive_entry_free(entry);
	}
}

static la_ssize_t write_out(struct archive *archive, void *out, const void *data, size_t len)
{
	buf_add(out, data, len);
	return (la_ssize_t)len;
}

enum form { TAR, GZIP, ZSTD, BZIP2, XZ, LZ4, ZIP };

static struct archive *writer_of(enum form form)
{
	struct archive *archive = archive_write_new();

	assert_int_equal(form == ZIP ? archive_write_set_format_zip(archive) : archive_write_set_format_pax_restricted(archive), ARCHIVE_OK);
	switch (form) {
	case GZIP: assert_int_equal(archive_write_add_filter_gzip(archive), ARCHIVE_OK); break;
	case BZIP2: assert_int_equal(archive_write_add_filter_bzip2(archive), ARCHIVE_OK); break;
	case XZ: assert_int_equal(archive_write_add_filter_xz(archive), ARCHIVE_OK); break;
	case LZ4: assert_int_equal(archive_write_add_filter_lz4(archive), ARCHIVE_OK); break;
	default: break;
	}
	return archive;
}

static void make_archive(enum form form, struct buf *out)
{
	struct archive *archive = writer_of(form == ZSTD ? TAR : form);
	struct buf plain = BUF_INIT;

	archive_write_set_bytes_in_last_block(archive, 1);
	assert_int_equal(archive_write_open(archive, form == ZSTD ? &plain : out, NULL, write_out, NULL), ARCHIVE_OK);
	add_files(archive);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	/* As zstd(1) does it, and libarchive does not: with a checksum. */
	if (form == ZSTD) {
		ZSTD_CCtx *context = ZSTD_createCCtx();
		ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
		buf_reserve(out, ZSTD_compressBound(plain.len));
		out->len = ZSTD_compress2(context, out->data, out->cap, plain.data, plain.len);
		ZSTD_freeCCtx(context);
		buf_clear(&plain);
	}
}

/* --- reading --- */

static bool never(void *arg, uint64_t position, uint64_t size)
{
	return false;
}

static int has_room(void *arg, size_t len)
{
	return 0;
}

/* Names and contents, one after the other. */
static int read_members(struct archive_in *in, struct buf *contents, unsigned *ret_count)
{
	struct archive_found found;
	uint64_t offset;
	const void *data;
	size_t len;
	int r;

	*ret_count = 0;
	while ((r = archive_in_next(in, &found)) == 1) {
		++*ret_count;
		while ((r = archive_in_data(in, &data, &len, &offset)) == 1)
			buf_add(contents, data, len);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : archive_in_has_end(in) ? 0 : -ENODATA;
}

static int read_fd(int fd, struct buf *contents, unsigned *ret_count)
{
	int keep = open("/tmp", O_RDONLY | O_DIRECTORY);
	struct archive_in_options options = {.fd = fd, .keep = {.dir = keep, .room = has_room}, .keep_name = "/tmp", .stopped = never};
	struct archive_in *in;
	struct error err;
	int r = archive_in_new(&options, &in, &err);

	close(keep);

	buf_reset(contents);
	if (r < 0)
		return r;
	r = read_members(in, contents, ret_count);
	archive_in_free(in);
	return r;
}

static int read_bytes_of(const uint8_t *data, size_t len, struct buf *contents, unsigned *ret_count)
{
	int fd = memfd_create("archive", MFD_CLOEXEC), r;

	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	r = read_fd(fd, contents, ret_count);
	close(fd);
	return r;
}

static void expect_files(const struct buf *contents)
{
	assert_int_equal(contents->len, FILES * FILE_LEN);
	for (unsigned i = 0; i < FILES; i++) {
		uint8_t data[FILE_LEN];

		content_of(i, data);
		assert_memory_equal(contents->data + (size_t)i * FILE_LEN, data, FILE_LEN);
	}
}

/* --- sound ones --- */

static void every_form_is_read(void **state)
{
	for (enum form form = TAR; form <= ZIP; form++) {
		AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
		unsigned count;

		make_archive(form, &archive);
		assert_int_equal(read_bytes_of(archive.data, archive.len, &contents, &count), 0);
		assert_int_equal(count, FILES);
		expect_files(&contents);
	}
}

struct feed {
	const struct buf *data;
	int fd;
};

static void *feed_main(void *arg)
{
	struct feed *feed = arg;

	assert_int_equal(write(feed->fd, feed->data->data, feed->data->len), feed->data->len);
	close(feed->fd);
	return NULL;
}

static void every_form_is_read_from_a_pipe(void **state)
{
	for (enum form form = TAR; form <= ZIP; form++) {
		AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
		unsigned count;
		int ends[2];
		pthread_t thread;
		struct feed feed = {.data = &archive};

		make_archive(form, &archive);
		assert_int_equal(pipe(ends), 0);
		feed.fd = ends[1];
		assert_int_equal(pthread_create(&thread, NULL, feed_main, &feed), 0);
		assert_int_equal(read_fd(ends[0], &contents, &count), 0);
		pthread_join(thread, NULL);
		close(ends[0]);
		expect_files(&contents);
	}
}

static void containers_in_several_parts_are_read(void **state)
{
	static const enum form forms[] = {GZIP, ZSTD, BZIP2, XZ, LZ4};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO_BUF plain = BUF_INIT, packed = BUF_INIT, contents = BUF_INIT;
		unsigned count;

		make_archive(TAR, &plain);
		/* The tar is cut in two, each compressed by itself. */
		for (size_t half = 0; half < 2; half++) {
			struct archive *archive = archive_write_new();
			struct archive_entry *entry = archive_entry_new();
			const uint8_t *from = plain.data + (half ? 1000 : 0);
			size_t len = half ? plain.len - 1000 : 1000;

			if (forms[i] == ZSTD) {
				buf_reserve(&packed, ZSTD_compressBound(len));
				packed.len += ZSTD_compress(packed.data + packed.len, packed.cap - packed.len, from, len, 1);
			} else {
				archive_write_free(archive);
				archive = writer_of(forms[i]);
				archive_write_set_format_raw(archive);
				archive_write_set_bytes_in_last_block(archive, 1);
				assert_int_equal(archive_write_open(archive, &packed, NULL, write_out, NULL), ARCHIVE_OK);
				archive_entry_set_filetype(entry, AE_IFREG);
				assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
				assert_int_equal(archive_write_data(archive, from, len), len);
				archive_write_close(archive);
			}
			archive_entry_free(entry);
			archive_write_free(archive);
		}
		assert_int_equal(read_bytes_of(packed.data, packed.len, &contents, &count), 0);
		expect_files(&contents);
	}
}

/* --- damaged ones --- */

/* Each content is one of those that were put in, whatever the member is called. */
static bool are_whole_files(const struct buf *contents)
{
	for (size_t at = 0; at < contents->len; at += FILE_LEN) {
		bool is_known = false;

		for (unsigned i = 0; i < FILES && !is_known && contents->len - at >= FILE_LEN; i++) {
			uint8_t data[FILE_LEN];
			content_of(i, data);
			is_known = memcmp(contents->data + at, data, FILE_LEN) == 0;
		}
		if (!is_known)
			return false;
	}
	return true;
}

static void a_flipped_byte_never_gives_other_content(void **state)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff};

	for (enum form form = GZIP; form <= ZIP; form++) {
		AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
		size_t refused = 0, tries = 0;

		make_archive(form, &archive);
		for (size_t at = 0; at < archive.len; at++) {
			for (size_t i = 0; i < ARRAY_SIZE(flips); i++, tries++) {
				unsigned count = 0;
				int r;

				archive.data[at] ^= flips[i];
				r = read_bytes_of(archive.data, archive.len, &contents, &count);
				archive.data[at] ^= flips[i];
				refused += r < 0;
				if (r == 0 && (!are_whole_files(&contents) || count != FILES))
					fail_msg("form %d, byte %zu of %zu ^ %#x: read without an error, and wrong (%u members, %zu bytes)", form, at, archive.len, flips[i], count, contents.len);
				if (r == 0 && form != ZIP)
					expect_files(&contents);
			}
		}
		assert_true(refused > tries / 2);
	}
}

static void an_archive_that_ends_early_is_never_taken_for_whole(void **state)
{
	for (enum form form = TAR; form <= ZIP; form++) {
		AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
		/* A tar says twice that it is at its end. */
		size_t needed, step;
		unsigned count;

		make_archive(form, &archive);
		needed = archive.len - (form == TAR ? 512 : 0);
		step = form == TAR ? 61 : 1;
		for (size_t len = 0; len < needed; len += step)
			if (read_bytes_of(archive.data, len, &contents, &count) == 0)
				fail_msg("form %d: the first %zu of %zu bytes were taken for all", form, len, archive.len);
	}
}

static void what_follows_a_container_is_an_error_unless_it_is_zeros(void **state)
{
	for (enum form form = GZIP; form <= LZ4; form++) {
		AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
		unsigned count;

		make_archive(form, &archive);
		buf_add(&archive, "garbage that is long enough to be looked at as something", 55);
		assert_int_equal(read_bytes_of(archive.data, archive.len, &contents, &count), -EBADMSG);
	}
	AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
	uint8_t zeros[600] = {0};
	unsigned count;
	make_archive(GZIP, &archive);
	buf_add(&archive, zeros, sizeof(zeros));
	assert_int_equal(read_bytes_of(archive.data, archive.len, &contents, &count), 0);
	expect_files(&contents);
}

/* A plain tar has checksums for headers alone: what is wrong elsewhere cannot be told, but must not lead anywhere. */
static void a_damaged_tar_header_is_an_error(void **state)
{
	AUTO_BUF archive = BUF_INIT, contents = BUF_INIT;
	unsigned count;

	make_archive(TAR, &archive);
	for (size_t at = 0; at < archive.len; at++) {
		bool in_header = at % (512 + 1024) < 512 && at < FILES * (512 + 1024);
		int r;

		archive.data[at] ^= 0x11;
		r = read_bytes_of(archive.data, archive.len, &contents, &count);
		archive.data[at] ^= 0x11;
		if (in_header)
			assert_true(r < 0);
	}
}

static void what_is_no_archive_is_told(void **state)
{
	static const char text[2000] = "This is a text, and no archive at all.";
	static const uint8_t nothing[1] = {0};
	AUTO_BUF contents = BUF_INIT;
	unsigned count;

	assert_int_equal(read_bytes_of((const uint8_t *)text, sizeof(text), &contents, &count), -EBADMSG);
	assert_int_equal(read_bytes_of(nothing, 0, &contents, &count), -EBADMSG);
	assert_int_equal(read_bytes_of(nothing, 1, &contents, &count), -EBADMSG);
	assert_int_equal(read_bytes_of((const uint8_t *)"\x1f\x8b\x08", 3, &contents, &count), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_is_read),
		cmocka_unit_test(every_form_is_read_from_a_pipe),
		cmocka_unit_test(containers_in_several_parts_are_read),
		cmocka_unit_test(a_flipped_byte_never_gives_other_content),
		cmocka_unit_test(an_archive_that_ends_early_is_never_taken_for_whole),
		cmocka_unit_test(what_follows_a_container_is_an_error_unless_it_is_zeros),
		cmocka_unit_test(a_damaged_tar_header_is_an_error),
		cmocka_unit_test(what_is_no_archive_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
