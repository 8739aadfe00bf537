#include "lib/transfer/zip_in.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"

struct zip_in {
	struct stream_in *in;
	struct archive *archive;
	struct archive_entry *entry; /* the archive's */
	locale_t locale;
	uint8_t *block;
	uint64_t at; /* where libarchive reads next */
	int opened, stream_result;
	char problem[ERROR_TEXT_MAX];
};

bool zip_in_begins_with(const uint8_t *data, size_t len)
{
	return len >= 4 && memcmp(data, "PK", 2) == 0 && (memcmp(data + 2, "\3\4", 2) == 0 || memcmp(data + 2, "\5\6", 2) == 0);
}

/* --- what libarchive asks for --- */

static la_ssize_t give(struct archive *archive, void *arg, const void **ret_block)
{
	struct zip_in *zip = arg;
	size_t len;
	int r = stream_in_stopped(zip->in) ? -ECANCELED : stream_in_at(zip->in, zip->at, zip->block, STREAM_BLOCK, &len);

	if (r < 0) {
		zip->stream_result = r;
		archive_set_error(archive, -r, "%s", strerror(-r));
		return ARCHIVE_FATAL;
	}
	zip->at += len;
	*ret_block = zip->block;
	return (la_ssize_t)len;
}

static la_int64_t pass_over(struct archive *archive, void *arg, la_int64_t len)
{
	struct zip_in *zip = arg;
	uint64_t left = stream_in_size(zip->in) - MIN(zip->at, stream_in_size(zip->in));

	len = MIN(len, (la_int64_t)left);
	zip->at += (uint64_t)len;
	return len;
}

static la_int64_t go_to(struct archive *archive, void *arg, la_int64_t offset, int whence)
{
	struct zip_in *zip = arg;
	la_int64_t base = whence == SEEK_CUR ? (la_int64_t)zip->at : whence == SEEK_END ? (la_int64_t)stream_in_size(zip->in) : 0;

	if (offset + base < 0 || offset + base > (la_int64_t)stream_in_size(zip->in))
		return ARCHIVE_FATAL;
	zip->at = (uint64_t)(offset + base);
	return offset + base;
}

/* --- members --- */

static int failed(struct zip_in *zip)
{
	const char *text = archive_error_string(zip->archive);

	if (zip->stream_result < 0)
		return zip->stream_result;
	snprintf(zip->problem, sizeof(zip->problem), "%s", text ? text : "it is damaged");
	return -EBADMSG;
}

/* libarchive converts names to the character set of the thread's locale, and gives up where that cannot hold them. Returns the one before. */
static locale_t use_locale(locale_t locale)
{
	return uselocale(locale ? locale : (locale_t)0);
}

struct zip_in *zip_in_new(struct stream_in *in)
{
	struct zip_in *zip = xcalloc(1, sizeof(*zip));
	locale_t before;

	*zip = (struct zip_in){.in = in, .archive = archive_read_new(), .locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), .block = xmalloc(STREAM_BLOCK)};
	if (!zip->archive)
		abort();
	before = use_locale(zip->locale);
	archive_read_support_format_zip_seekable(zip->archive);
	archive_read_set_read_callback(zip->archive, give);
	archive_read_set_skip_callback(zip->archive, pass_over);
	archive_read_set_seek_callback(zip->archive, go_to);
	archive_read_set_callback_data(zip->archive, zip);
	zip->opened = archive_read_open1(zip->archive);
	uselocale(before);
	return zip;
}

void zip_in_free(struct zip_in *zip)
{
	if (!zip)
		return;
	archive_read_free(zip->archive);
	if (zip->locale)
		freelocale(zip->locale);
	free(zip->block);
	free(zip);
}

const char *zip_in_problem(const struct zip_in *zip)
{
	return zip->problem;
}

uint64_t zip_in_position(const struct zip_in *zip)
{
	return zip->at;
}

static void fill(struct archive_entry *entry, struct archive_member *member)
{
	*member = (struct archive_member){
		.path = archive_entry_pathname(entry),
		.target = archive_entry_symlink(entry),
		.mode = (uint32_t)archive_entry_mode(entry),
		.uid = (uint32_t)archive_entry_uid(entry),
		.gid = (uint32_t)archive_entry_gid(entry),
		.size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry) : 0,
		.has_size = archive_entry_size_is_set(entry),
		.has_mtime = archive_entry_mtime_is_set(entry),
		.has_atime = archive_entry_atime_is_set(entry),
		.mtime = {.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)},
		.atime = {.tv_sec = archive_entry_atime(entry), .tv_nsec = archive_entry_atime_nsec(entry)},
	};
}

int zip_in_next(struct zip_in *zip, struct archive_found *ret_found)
{
	locale_t before = use_locale(zip->locale);
	int r = zip->opened;

	if (r == ARCHIVE_OK)
		r = archive_read_next_header(zip->archive, &zip->entry);
	if (r == ARCHIVE_OK || r == ARCHIVE_WARN) {
		*ret_found = (struct archive_found){0};
		fill(zip->entry, &ret_found->member);
		if (!ret_found->member.path)
			ret_found->problem = "its name cannot be read";
	}
	uselocale(before);
	if (r == ARCHIVE_EOF)
		return 0;
	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 1 : failed(zip);
}

int zip_in_data(struct zip_in *zip, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	la_int64_t offset;
	int r = archive_read_data_block(zip->archive, ret_data, ret_len, &offset);

	*ret_offset = (uint64_t)offset;
	if (r == ARCHIVE_EOF)
		return 0;
	/* A wrong checksum is told as a warning. */
	return r == ARCHIVE_OK ? 1 : failed(zip);
}
