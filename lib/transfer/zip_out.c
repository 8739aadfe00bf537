#include "lib/transfer/zip_out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "lib/base/buf.h"
#include "lib/base/utf8.h"
#include "lib/transfer/spool.h"

#define OUT_LEN (256U << 10)
#define HOLE (1U << 20) /* so much of a hole is written as one piece that was made before */

#define LOCAL 0x04034b50U
#define DESCRIPTOR 0x08074b50U
#define CENTRAL 0x02014b50U
#define END 0x06054b50U
#define END64 0x06064b50U
#define END64_LOCATOR 0x07064b50U

#define VERSION 20U
#define VERSION_ZIP64 45U
#define MADE_BY_UNIX (3U << 8)
#define FLAG_DESCRIPTOR (1U << 3) /* sizes and checksum follow the content */
#define FLAG_UTF8 (1U << 11)
#define STORED 0U
#define DEFLATED 8U

#define EXTRA_ZIP64 0x0001U
#define EXTRA_TIMES 0x5455U
#define EXTRA_OWNERS 0x7875U

#define FULL16 0xffffU
#define FULL32 0xffffffffU
#define ZIP64_FROM 0xff000000U /* compressed, a file may be a little longer than it is */

/* What the list of members says of one. */
struct listed {
	char *path; /* owned; of a directory with its '/' */
	uint32_t mode, uid, gid, dos_time, crc;
	uint16_t method, flags;
	time_t mtime, atime;
	bool is_zip64;
	uint64_t size, packed, offset;
};

struct zip_out {
	struct stream_out *out;
	struct spool *list;
	uint64_t count;
	struct listed at; /* the member being written */
	bool is_open;     /* its content is not complete */
	uint64_t left;
	z_stream deflate;
	uint8_t *room;
	uint8_t *hole; /* HOLE zeros, deflated so that it can follow anything and be followed by anything; made when first needed */
	size_t hole_len;
	uLong hole_crc;
	const char *lost;
	bool has_early;
};

struct zip_out *zip_out_new(struct stream_out *out)
{
	struct zip_out *zip = xcalloc(1, sizeof(*zip));

	zip->out = out;
	zip->list = spool_new();
	zip->room = xmalloc(OUT_LEN);
	if (deflateInit2(&zip->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK)
		return zip;
	zip_out_free(zip);
	return NULL;
}

void zip_out_free(struct zip_out *zip)
{
	if (!zip)
		return;
	deflateEnd(&zip->deflate);
	spool_free(zip->list);
	free(zip->at.path);
	free(zip->room);
	free(zip->hole);
	free(zip);
}

/* --- times --- */

static bool fits_unix(time_t time)
{
	return time >= INT32_MIN && time <= INT32_MAX;
}

/* Two seconds are the unit. Years before 1980 and after 2107 have no form: the nearest is taken. */
static uint32_t dos_time(time_t time, bool *ret_exact)
{
	struct tm tm;
	bool is_known = localtime_r(&time, &tm) != NULL;

	*ret_exact = is_known && tm.tm_year >= 80 && tm.tm_year <= 207;
	if (*ret_exact)
		return ((uint32_t)tm.tm_year - 80) << 25 | ((uint32_t)tm.tm_mon + 1) << 21 | (uint32_t)tm.tm_mday << 16 |
		       (uint32_t)tm.tm_hour << 11 | (uint32_t)tm.tm_min << 5 | (uint32_t)MIN(tm.tm_sec, 59) / 2;
	return time < 0 || (is_known && tm.tm_year < 80) ? 1U << 21 | 1U << 16 : 127U << 25 | 12U << 21 | 31U << 16 | 23U << 11 | 59U << 5 | 29U;
}

static void set_times(struct zip_out *zip, const struct archive_member *member)
{
	bool exact;

	zip->at.mtime = member->mtime.tv_sec;
	zip->at.atime = member->atime.tv_sec;
	zip->at.dos_time = dos_time(member->mtime.tv_sec, &exact);
	/* Unix times stand in an extra field, with 32 bits. Some programs take no negative ones. */
	if (!exact && member->mtime.tv_sec >= 0 && fits_unix(member->mtime.tv_sec))
		zip->has_early = true;
	else if (!exact)
		zip->lost = "written with another time of change: zip has the years 1970 to 2107";
}

/* --- headers --- */

static void add_extra_times(struct buf *buf, const struct listed *at, bool is_central)
{
	const bool has_atime = fits_unix(at->atime);

	if (!fits_unix(at->mtime))
		return;
	buf_add_le16(buf, EXTRA_TIMES);
	buf_add_le16(buf, has_atime && !is_central ? 9 : 5);
	buf_add_u8(buf, has_atime ? 3 : 1); /* which of them there are; the list has the first one only */
	buf_add_le32(buf, (uint32_t)at->mtime);
	if (has_atime && !is_central)
		buf_add_le32(buf, (uint32_t)at->atime);
}

static void add_extra_owners(struct buf *buf, const struct listed *at)
{
	buf_add_le16(buf, EXTRA_OWNERS);
	buf_add_le16(buf, 11);
	buf_add_u8(buf, 1); /* version */
	buf_add_u8(buf, 4);
	buf_add_le32(buf, at->uid);
	buf_add_u8(buf, 4);
	buf_add_le32(buf, at->gid);
}

static int put_local(struct zip_out *zip)
{
	const struct listed *at = &zip->at;
	AUTO_BUF extra = BUF_INIT, header = BUF_INIT;

	if (at->is_zip64) {
		buf_add_le16(&extra, EXTRA_ZIP64);
		buf_add_le16(&extra, 16);
		buf_add_le64(&extra, 0);
		buf_add_le64(&extra, 0);
	}
	add_extra_times(&extra, at, false);
	add_extra_owners(&extra, at);
	buf_add_le32(&header, LOCAL);
	buf_add_le16(&header, at->is_zip64 ? VERSION_ZIP64 : VERSION);
	buf_add_le16(&header, at->flags);
	buf_add_le16(&header, at->method);
	buf_add_le32(&header, at->dos_time);
	buf_add_le32(&header, at->crc);
	buf_add_le32(&header, at->is_zip64 ? FULL32 : (uint32_t)at->packed);
	buf_add_le32(&header, at->is_zip64 ? FULL32 : at->flags & FLAG_DESCRIPTOR ? 0 : (uint32_t)at->size);
	buf_add_le16(&header, (uint16_t)strlen(at->path));
	buf_add_le16(&header, (uint16_t)extra.len);
	buf_add(&header, at->path, strlen(at->path));
	buf_add(&header, extra.data, extra.len);
	return stream_out_put(zip->out, header.data, header.len);
}

static int put_descriptor(struct zip_out *zip)
{
	const struct listed *at = &zip->at;
	AUTO_BUF descriptor = BUF_INIT;

	buf_add_le32(&descriptor, DESCRIPTOR);
	buf_add_le32(&descriptor, at->crc);
	if (at->is_zip64) {
		buf_add_le64(&descriptor, at->packed);
		buf_add_le64(&descriptor, at->size);
	} else {
		buf_add_le32(&descriptor, (uint32_t)at->packed);
		buf_add_le32(&descriptor, (uint32_t)at->size);
	}
	return stream_out_put(zip->out, descriptor.data, descriptor.len);
}

/* Of the three numbers that may not fit, those that do not stand in the extra field, in this order. */
static void add_extra_zip64(struct buf *extra, const struct listed *at)
{
	const uint64_t numbers[] = {at->size, at->packed, at->offset};
	AUTO_BUF large = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i] >= FULL32)
			buf_add_le64(&large, numbers[i]);
	if (large.len == 0)
		return;
	buf_add_le16(extra, EXTRA_ZIP64);
	buf_add_le16(extra, (uint16_t)large.len);
	buf_add(extra, large.data, large.len);
}

static uint32_t at_most_32(uint64_t number)
{
	return number >= FULL32 ? FULL32 : (uint32_t)number;
}

static int list_member(struct zip_out *zip)
{
	const struct listed *at = &zip->at;
	AUTO_BUF extra = BUF_INIT, header = BUF_INIT;

	add_extra_zip64(&extra, at);
	add_extra_times(&extra, at, true);
	add_extra_owners(&extra, at);
	buf_add_le32(&header, CENTRAL);
	buf_add_le16(&header, MADE_BY_UNIX | VERSION_ZIP64);
	buf_add_le16(&header, at->is_zip64 || at->offset >= FULL32 ? VERSION_ZIP64 : VERSION);
	buf_add_le16(&header, at->flags);
	buf_add_le16(&header, at->method);
	buf_add_le32(&header, at->dos_time);
	buf_add_le32(&header, at->crc);
	buf_add_le32(&header, at_most_32(at->packed));
	buf_add_le32(&header, at_most_32(at->size));
	buf_add_le16(&header, (uint16_t)strlen(at->path));
	buf_add_le16(&header, (uint16_t)extra.len);
	buf_add_le16(&header, 0); /* comment */
	buf_add_le16(&header, 0); /* disk */
	buf_add_le16(&header, 0); /* is it text */
	buf_add_le32(&header, at->mode << 16 | (S_ISDIR(at->mode) ? 0x10U : 0)); /* DOS has a bit for directories, too */
	buf_add_le32(&header, at_most_32(at->offset));
	buf_add(&header, at->path, strlen(at->path));
	buf_add(&header, extra.data, extra.len);
	zip->count++;
	return spool_add(zip->list, header.data, header.len);
}

/* --- content --- */

static int deflate_some(struct zip_out *zip, const uint8_t *data, size_t len, int flush)
{
	z_stream *stream = &zip->deflate;
	int code, r;

	stream->next_in = (Bytef *)data;
	stream->avail_in = (uInt)len;
	do {
		stream->next_out = zip->room;
		stream->avail_out = OUT_LEN;
		code = deflate(stream, flush);
		zip->at.packed += OUT_LEN - stream->avail_out;
		r = code == Z_STREAM_ERROR ? -EIO : stream_out_put(zip->out, zip->room, OUT_LEN - stream->avail_out);
	} while (r == 0 && (flush == Z_FINISH ? code != Z_STREAM_END : stream->avail_out == 0));
	return r;
}

static int end_content(struct zip_out *zip)
{
	int r = deflate_some(zip, (const uint8_t *)"", 0, Z_FINISH);

	if (r == 0)
		r = put_descriptor(zip);
	zip->is_open = false;
	return r < 0 ? r : list_member(zip);
}

/* Nothing of a piece refers to what came before it, and it ends at a byte: as many as a hole is long can stand in a row. */
static void make_hole(struct zip_out *zip)
{
	AUTO_FREE uint8_t *zeros = xcalloc(1, HOLE);
	z_stream stream = {0};

	if (zip->hole)
		return;
	if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	zip->hole = xmalloc(OUT_LEN);
	stream.next_in = zeros;
	stream.avail_in = HOLE;
	stream.next_out = zip->hole;
	stream.avail_out = OUT_LEN;
	if (deflate(&stream, Z_FULL_FLUSH) != Z_OK || stream.avail_out == 0)
		abort();
	zip->hole_len = OUT_LEN - stream.avail_out;
	zip->hole_crc = crc32(0, zeros, HOLE);
	deflateEnd(&stream);
}

static int put_hole_pieces(struct zip_out *zip, uint64_t *len)
{
	int r = 0;

	if (*len < 2 * HOLE)
		return 0;
	make_hole(zip);
	r = deflate_some(zip, (const uint8_t *)"", 0, Z_FULL_FLUSH);
	for (; r == 0 && *len >= HOLE; *len -= HOLE) {
		r = stream_out_put(zip->out, zip->hole, zip->hole_len);
		zip->at.packed += zip->hole_len;
		zip->at.crc = (uint32_t)crc32_combine(zip->at.crc, zip->hole_crc, HOLE);
		zip->left -= HOLE;
	}
	return r;
}

int zip_out_data(struct zip_out *zip, const void *data, size_t len)
{
	const uint8_t *at = data;
	int r = 0;

	if (len > zip->left)
		return -EIO; /* more than was promised */
	while (r == 0 && len > 0) {
		const size_t part = MIN(len, 1U << 30);

		zip->at.crc = (uint32_t)crc32(zip->at.crc, at, (uInt)part);
		r = deflate_some(zip, at, part, Z_NO_FLUSH);
		zip->left -= part;
		at += part;
		len -= part;
	}
	return r == 0 && zip->left == 0 ? end_content(zip) : r;
}

int zip_out_hole(struct zip_out *zip, uint64_t len)
{
	AUTO_FREE uint8_t *zeros = NULL;
	int r;

	if (len > zip->left)
		return -EIO;
	r = put_hole_pieces(zip, &len);
	if (r == 0 && zip->left == 0)
		return end_content(zip);
	zeros = xcalloc(1, MIN(len, HOLE) + 1);
	while (r == 0 && len > 0) {
		const size_t part = MIN(len, HOLE);

		r = zip_out_data(zip, zeros, part);
		len -= part;
	}
	return r;
}

/* --- members --- */

/* A member whose content is known: nothing of a directory or an empty file, the target of a link. */
static int put_known(struct zip_out *zip, const char *content)
{
	const size_t len = strlen(content);
	int r;

	zip->at.method = STORED;
	zip->at.size = zip->at.packed = len;
	zip->at.crc = (uint32_t)crc32(0, (const Bytef *)content, (uInt)len);
	r = put_local(zip);
	if (r == 0)
		r = stream_out_put(zip->out, content, len);
	return r < 0 ? r : list_member(zip);
}

static int begin_content(struct zip_out *zip, uint64_t size)
{
	zip->at.method = DEFLATED;
	zip->at.flags |= FLAG_DESCRIPTOR;
	zip->at.size = zip->left = size;
	zip->at.is_zip64 = size >= ZIP64_FROM;
	zip->is_open = true;
	deflateReset(&zip->deflate);
	return put_local(zip);
}

int zip_out_member(struct zip_out *zip, const struct archive_member *member)
{
	const bool is_dir = S_ISDIR(member->mode);

	zip->lost = NULL;
	if (!S_ISREG(member->mode) && !is_dir && !S_ISLNK(member->mode))
		return -EOPNOTSUPP;
	if (member->hardlink || strlen(member->path) + is_dir > FULL16 || !utf8_is_valid(member->path))
		return -EOPNOTSUPP;
	free(zip->at.path);
	zip->at = (struct listed){.path = xasprintf("%s%s", member->path, is_dir ? "/" : ""), .mode = member->mode, .uid = member->uid,
	                          .gid = member->gid, .flags = FLAG_UTF8, .offset = stream_out_position(zip->out)};
	set_times(zip, member);
	if (S_ISREG(member->mode) && member->size > 0)
		return begin_content(zip, member->size);
	return put_known(zip, S_ISLNK(member->mode) ? member->target : "");
}

static int put_end(struct zip_out *zip, uint64_t offset, uint64_t len)
{
	const bool is_zip64 = zip->count >= FULL16 || offset >= FULL32 || len >= FULL32;
	AUTO_BUF end = BUF_INIT;

	if (is_zip64) {
		buf_add_le32(&end, END64);
		buf_add_le64(&end, 44); /* bytes that follow of this record */
		buf_add_le16(&end, MADE_BY_UNIX | VERSION_ZIP64);
		buf_add_le16(&end, VERSION_ZIP64);
		buf_add_le32(&end, 0); /* disks */
		buf_add_le32(&end, 0);
		buf_add_le64(&end, zip->count);
		buf_add_le64(&end, zip->count);
		buf_add_le64(&end, len);
		buf_add_le64(&end, offset);
		buf_add_le32(&end, END64_LOCATOR);
		buf_add_le32(&end, 0);
		buf_add_le64(&end, offset + len);
		buf_add_le32(&end, 1);
	}
	buf_add_le32(&end, END);
	buf_add_le16(&end, 0); /* disks */
	buf_add_le16(&end, 0);
	buf_add_le16(&end, (uint16_t)MIN(zip->count, FULL16));
	buf_add_le16(&end, (uint16_t)MIN(zip->count, FULL16));
	buf_add_le32(&end, at_most_32(len));
	buf_add_le32(&end, at_most_32(offset));
	buf_add_le16(&end, 0); /* comment */
	return stream_out_put(zip->out, end.data, end.len);
}

static int put_listed(void *arg, const void *data, size_t len)
{
	struct zip_out *zip = arg;

	return stream_out_put(zip->out, data, len);
}

int zip_out_end(struct zip_out *zip)
{
	const uint64_t offset = stream_out_position(zip->out);
	int r = zip->is_open ? -EIO : spool_read(zip->list, put_listed, zip);

	if (r == 0)
		r = put_end(zip, offset, stream_out_position(zip->out) - offset);
	return r < 0 ? r : stream_out_flush(zip->out);
}

const char *zip_out_lost(const struct zip_out *zip)
{
	return zip->lost;
}

const char *zip_out_note(const struct zip_out *zip)
{
	return zip->has_early ? "what was changed before 1980 looks as if of 1980 to programs that do not read a zip's Unix times" : NULL;
}
