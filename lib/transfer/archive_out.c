#include "lib/transfer/archive_out.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/transfer/pack.h"
#include "lib/transfer/tar_out.h"
#include "lib/transfer/zip_out.h"

struct archive_out {
	struct stream_out *stream;
	struct pack *pack;
	struct tar_out *tar; /* one of the two */
	struct zip_out *zip;
};

static int packing_of(const char *format)
{
	if (strcmp(format, "tar") == 0)
		return PACK_PLAIN;
	if (strcmp(format, "tar.zst") == 0)
		return PACK_ZSTD;
	return strcmp(format, "tar.gz") == 0 ? PACK_GZIP : -EINVAL;
}

int archive_out_new(int fd, const char *format, bool (*stopped)(void *arg), void *arg, struct archive_out **ret_out)
{
	const bool is_zip = strcmp(format, "zip") == 0;
	const int packing = is_zip ? PACK_PLAIN : packing_of(format);
	struct archive_out *out;

	if (packing < 0)
		return packing;
	out = xcalloc(1, sizeof(*out));
	out->stream = stream_out_new(fd, stopped, arg);
	if (out->stream && is_zip)
		out->zip = zip_out_new(out->stream);
	else if (out->stream)
		out->pack = pack_new(out->stream, (enum packing)packing);
	if (!out->zip && !out->pack) {
		archive_out_free(out);
		return -ENOMEM;
	}
	if (!is_zip)
		out->tar = tar_out_new(out->pack);
	*ret_out = out;
	return 0;
}

void archive_out_free(struct archive_out *out)
{
	if (!out)
		return;
	zip_out_free(out->zip);
	tar_out_free(out->tar);
	pack_free(out->pack);
	stream_out_free(out->stream);
	free(out);
}

int archive_out_member(struct archive_out *out, const struct archive_member *member, const struct archive_extra *extra)
{
	if (S_ISSOCK(member->mode))
		return -EOPNOTSUPP;
	return out->zip ? zip_out_member(out->zip, member) : tar_out_member(out->tar, member, extra);
}

int archive_out_data(struct archive_out *out, const void *data, size_t len)
{
	return out->zip ? zip_out_data(out->zip, data, len) : tar_out_data(out->tar, data, len);
}

int archive_out_hole(struct archive_out *out, uint64_t len)
{
	return out->zip ? zip_out_hole(out->zip, len) : tar_out_hole(out->tar, len);
}

int archive_out_done(struct archive_out *out)
{
	return out->zip ? zip_out_end(out->zip) : tar_out_end(out->tar);
}

const char *archive_out_lost(const struct archive_out *out)
{
	return out->zip ? zip_out_lost(out->zip) : NULL;
}

const char *archive_out_note(const struct archive_out *out)
{
	return out->zip ? zip_out_note(out->zip) : NULL;
}

bool archive_out_keeps_acls(const struct archive_out *out)
{
	return !out->zip;
}
