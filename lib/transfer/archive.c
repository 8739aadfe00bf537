#include "lib/transfer/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"

#define BLOCK (1U << 20)
#define LOOK_EVERY_MS 200
#define ASKED INT_MIN

/* libarchive converts names to the character set of the thread's locale, and gives up where that cannot hold them. */
static locale_t utf8_locale(void)
{
	return newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static locale_t locale_on(locale_t locale)
{
	return uselocale(locale ? locale : (locale_t)0);
}

/* --- reading --- */

struct archive_in {
	struct archive *archive;
	struct archive_entry *entry; /* the archive's */
	locale_t locale;
	int fd;
	bool (*stopped)(void *arg);
	void *arg;
	uint8_t *block; /* of a stream */
	int first;      /* what looking for the first member gave, until it is asked for; then ASKED */
	char problem[ERROR_TEXT_MAX];
};

/* A stream may have nothing to give for a long time. */
static la_ssize_t read_stream(struct archive *archive, void *arg, const void **ret_block)
{
	struct archive_in *in = arg;
	struct pollfd poll_fd = {.fd = in->fd, .events = POLLIN};
	ssize_t got;

	do {
		while (poll(&poll_fd, 1, LOOK_EVERY_MS) == 0) {
			if (in->stopped(in->arg)) {
				archive_set_error(archive, ECANCELED, "cancelled");
				return ARCHIVE_FATAL;
			}
		}
		got = read(in->fd, in->block, BLOCK);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	if (got < 0)
		archive_set_error(archive, errno, "%s", strerror(errno));
	*ret_block = in->block;
	return got < 0 ? ARCHIVE_FATAL : got;
}

static int failed(struct archive_in *in)
{
	const char *text = archive_error_string(in->archive);

	snprintf(in->problem, sizeof(in->problem), "%s", text ? text : "it is damaged");
	return -EBADMSG;
}

static int open_in(struct archive_in *in)
{
	struct archive *archive = in->archive;
	struct stat st;

	archive_read_support_format_tar(archive);
	archive_read_support_format_zip(archive);
	archive_read_support_filter_gzip(archive);
	archive_read_support_filter_zstd(archive);
	archive_read_support_filter_bzip2(archive);
	archive_read_support_filter_xz(archive);
	if (fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode))
		return archive_read_open_fd(archive, in->fd, BLOCK);
	in->block = xmalloc(BLOCK);
	return archive_read_open(archive, in, NULL, read_stream, NULL);
}

int archive_in_new(int fd, bool (*stopped)(void *arg), void *arg, struct archive_in **ret_in, struct error *err)
{
	struct archive_in *in = xcalloc(1, sizeof(*in));
	locale_t before;
	int r;

	*in = (struct archive_in){.archive = archive_read_new(), .locale = utf8_locale(), .fd = fd, .stopped = stopped, .arg = arg};
	if (!in->archive)
		abort();
	before = locale_on(in->locale);
	r = open_in(in);
	/* Only with its first member does an archive show that it is one. */
	if (r == ARCHIVE_OK)
		r = in->first = archive_read_next_header(in->archive, &in->entry);
	uselocale(before);
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN && r != ARCHIVE_EOF) {
		r = failed(in);
		error_set(err, r, "it cannot be read as an archive: %s", in->problem);
		archive_in_free(in);
		return r;
	}
	*ret_in = in;
	return 0;
}

void archive_in_free(struct archive_in *in)
{
	if (!in)
		return;
	archive_read_free(in->archive);
	if (in->locale)
		freelocale(in->locale);
	free(in->block);
	free(in);
}

static void fill_member(struct archive_entry *entry, struct archive_member *member)
{
	*member = (struct archive_member){
		.path = archive_entry_pathname(entry),
		.hardlink = archive_entry_hardlink(entry),
		.target = archive_entry_symlink(entry),
		.mode = (uint32_t)archive_entry_mode(entry),
		.uid = (uint32_t)archive_entry_uid(entry),
		.gid = (uint32_t)archive_entry_gid(entry),
		.rdev = archive_entry_rdev(entry),
		.size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry) : 0,
		.has_size = archive_entry_size_is_set(entry),
		.has_mtime = archive_entry_mtime_is_set(entry),
		.has_atime = archive_entry_atime_is_set(entry),
		.has_holes = archive_entry_sparse_count(entry) > 0,
		.mtime = {.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)},
		.atime = {.tv_sec = archive_entry_atime(entry), .tv_nsec = archive_entry_atime_nsec(entry)},
	};
}

int archive_in_next(struct archive_in *in, struct archive_member *ret_member)
{
	locale_t before = locale_on(in->locale);
	int r = in->first;

	if (r == ASKED)
		r = archive_read_next_header(in->archive, &in->entry);
	in->first = ASKED;
	if (r == ARCHIVE_OK || r == ARCHIVE_WARN)
		fill_member(in->entry, ret_member);
	uselocale(before);
	if (r == ARCHIVE_EOF)
		return 0;
	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 1 : failed(in);
}

int archive_in_data(struct archive_in *in, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	la_int64_t offset;
	int r = archive_read_data_block(in->archive, ret_data, ret_len, &offset);

	*ret_offset = (uint64_t)offset;
	if (r == ARCHIVE_EOF)
		return 0;
	/* A warning about content is, for us, no content: a wrong checksum in a zip is told so. */
	return r == ARCHIVE_OK ? 1 : failed(in);
}

void archive_in_xattrs(struct archive_in *in, void (*each)(void *arg, const char *name, const void *value, size_t len), void *arg)
{
	const char *name;
	const void *value;
	size_t len;

	archive_entry_xattr_reset(in->entry);
	while (archive_entry_xattr_next(in->entry, &name, &value, &len) == ARCHIVE_OK)
		each(arg, name, value, len);
}

const char *archive_in_problem(struct archive_in *in)
{
	return in->problem;
}

uint64_t archive_in_bytes(struct archive_in *in)
{
	return (uint64_t)archive_filter_bytes(in->archive, -1);
}

/* --- writing --- */

struct archive_out {
	struct archive *archive;
	locale_t locale;
	bool is_zip;
	char problem[ERROR_TEXT_MAX];
};

static int out_failed(struct archive_out *out)
{
	const char *text = archive_error_string(out->archive);
	int code = archive_errno(out->archive);

	snprintf(out->problem, sizeof(out->problem), "%s", text ? text : "it cannot be written");
	return code > 0 ? -code : -EIO;
}

static int set_format(struct archive_out *out, const char *format)
{
	struct archive *archive = out->archive;

	out->is_zip = strcmp(format, "zip") == 0;
	if (out->is_zip)
		return archive_write_set_format_zip(archive);
	if (strcmp(format, "tar.zst") == 0)
		archive_write_add_filter_zstd(archive);
	else if (strcmp(format, "tar.gz") == 0)
		archive_write_add_filter_gzip(archive);
	else if (strcmp(format, "tar") != 0)
		return -EINVAL;
	return archive_write_set_format_pax(archive);
}

int archive_out_new(int fd, const char *format, struct archive_out **ret_out, struct error *err)
{
	struct archive_out *out = xcalloc(1, sizeof(*out));
	int r;

	*out = (struct archive_out){.archive = archive_write_new(), .locale = utf8_locale()};
	if (!out->archive)
		abort();
	r = set_format(out, format);
	if (r == -EINVAL) {
		error_set(err, r, "\"%s\" is not a format", format);
		error_hint(err, "dir, tar, tar.zst, tar.gz or zip");
	} else if (r == ARCHIVE_OK) {
		archive_write_set_bytes_per_block(out->archive, BLOCK);
		archive_write_set_bytes_in_last_block(out->archive, 1);
		r = archive_write_open_fd(out->archive, fd);
	}
	if (r != ARCHIVE_OK) {
		if (r != -EINVAL)
			r = error_set(err, out_failed(out), "the archive cannot be begun: %s", out->problem);
		archive_out_free(out);
		return r;
	}
	*ret_out = out;
	return 0;
}

void archive_out_free(struct archive_out *out)
{
	if (!out)
		return;
	/* Without this, an archive that was given up would be ended as if it were complete. */
	archive_write_fail(out->archive);
	archive_write_free(out->archive);
	if (out->locale)
		freelocale(out->locale);
	free(out);
}

static void fill_entry(struct archive_entry *entry, const struct archive_member *member, const struct archive_extra *extra)
{
	archive_entry_copy_pathname(entry, member->path);
	archive_entry_set_mode(entry, member->mode);
	archive_entry_set_uid(entry, member->uid);
	archive_entry_set_gid(entry, member->gid);
	archive_entry_set_rdev(entry, member->rdev);
	archive_entry_set_size(entry, (la_int64_t)member->size);
	archive_entry_set_mtime(entry, member->mtime.tv_sec, member->mtime.tv_nsec);
	archive_entry_set_atime(entry, member->atime.tv_sec, member->atime.tv_nsec);
	if (member->hardlink)
		archive_entry_copy_hardlink(entry, member->hardlink);
	if (member->target)
		archive_entry_copy_symlink(entry, member->target);
	for (size_t i = 0; i < extra->xattr_count; i++)
		archive_entry_xattr_add_entry(entry, extra->xattrs[i].name, extra->xattrs[i].value, extra->xattrs[i].len);
	for (size_t i = 0; i < extra->data_count; i++)
		archive_entry_sparse_add_entry(entry, (la_int64_t)extra->data[i].offset, (la_int64_t)extra->data[i].len);
}

static bool is_utf8(const struct archive_out *out, const char *text)
{
	locale_t before = locale_on(out->locale);
	size_t len = mbstowcs(NULL, text, 0);

	uselocale(before);
	return len != (size_t)-1;
}

int archive_out_member(struct archive_out *out, const struct archive_member *member, const struct archive_extra *extra)
{
	bool storable = S_ISREG(member->mode) || S_ISDIR(member->mode) || S_ISLNK(member->mode);
	struct archive_entry *entry;
	locale_t before;
	int r;

	if (out->is_zip && (!storable || member->hardlink || !is_utf8(out, member->path)))
		return -EOPNOTSUPP;
	if (S_ISSOCK(member->mode))
		return -EOPNOTSUPP;
	entry = archive_entry_new();
	before = locale_on(out->locale);
	fill_entry(entry, member, extra);
	r = archive_write_header(out->archive, entry);
	uselocale(before);
	archive_entry_free(entry);
	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : out_failed(out);
}

int archive_out_data(struct archive_out *out, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		la_ssize_t written = archive_write_data(out->archive, at, len);

		if (written <= 0)
			return out_failed(out);
		at += written;
		len -= (size_t)written;
	}
	return 0;
}

int archive_out_done(struct archive_out *out)
{
	return archive_write_close(out->archive) == ARCHIVE_OK ? 0 : out_failed(out);
}

const char *archive_out_problem(struct archive_out *out)
{
	return out->problem;
}
