#include "lib/transfer/archive_out.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"

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

	*out = (struct archive_out){.archive = archive_write_new(), .locale = archive_locale_new()};
	if (!out->archive)
		abort();
	r = set_format(out, format);
	if (r == -EINVAL) {
		error_set(err, r, "\"%s\" is not a format", format);
		error_hint(err, "dir, tar, tar.zst, tar.gz or zip");
	} else if (r == ARCHIVE_OK) {
		archive_write_set_bytes_per_block(out->archive, ARCHIVE_BLOCK);
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
	locale_t before = archive_locale_use(out->locale);
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
	before = archive_locale_use(out->locale);
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
