#include "lib/transfer/archive_in.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"

#define LOOK_EVERY_MS 200
#define ASKED INT_MIN

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
		got = read(in->fd, in->block, ARCHIVE_BLOCK);
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
		return archive_read_open_fd(archive, in->fd, ARCHIVE_BLOCK);
	in->block = xmalloc(ARCHIVE_BLOCK);
	return archive_read_open(archive, in, NULL, read_stream, NULL);
}

int archive_in_new(int fd, bool (*stopped)(void *arg), void *arg, struct archive_in **ret_in, struct error *err)
{
	struct archive_in *in = xcalloc(1, sizeof(*in));
	locale_t before;
	int r;

	*in = (struct archive_in){.archive = archive_read_new(), .locale = archive_locale_new(), .fd = fd, .stopped = stopped, .arg = arg};
	if (!in->archive)
		abort();
	before = archive_locale_use(in->locale);
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
	locale_t before = archive_locale_use(in->locale);
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
