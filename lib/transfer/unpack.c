#include "lib/transfer/unpack.h"

#include <archive.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

#define MAGIC_MAX 6
#define GZIP_WINDOW (15 + 16) /* zlib: the largest window, and gzip's header and trailer, which it checks */
#define DEFLATE_WINDOW (-15)  /* neither of them */

enum packing { PLAIN, GZIP, DEFLATE, OTHER };

struct unpack {
	struct stream_in *in;
	enum packing packing;
	z_stream zlib;
	bool in_member;          /* of a gzip, or the deflated stream: it has begun and not ended */
	struct archive *archive; /* undoes the other compressions: libarchive's "raw" format */
	const uint8_t *given;    /* to it, last */
	size_t given_len;
	int stream_result; /* of the stream, below libarchive */

	uint8_t *out;         /* of a gzip */
	bool is_full;         /* the last block, of zlib */
	const uint8_t *block; /* plain bytes that were not taken yet */
	size_t block_len;
	bool ended;
	int begun; /* what beginning gave: an error is told when bytes are asked for */
	char problem[ERROR_TEXT_MAX];
};

static int damaged(struct unpack *unpack, const char *text)
{
	snprintf(unpack->problem, sizeof(unpack->problem), "%s", text ? text : "it is damaged");
	return -EBADMSG;
}

/* --- which it is --- */

static enum packing packing_of(const uint8_t *data, size_t len)
{
	static const struct {
		const char *magic;
		size_t len;
		enum packing packing;
	} known[] = {
		{"\x1f\x8b", 2, GZIP},
		{"BZh", 3, OTHER},
		{"\xfd" "7zXZ\0", 6, OTHER},
		{"\x28\xb5\x2f\xfd", 4, OTHER}, /* zstd */
		{"\x04\x22\x4d\x18", 4, OTHER}, /* lz4 */
		{"\x02\x21\x4c\x18", 4, OTHER}, /* lz4 of before */
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (len >= known[i].len && memcmp(data, known[i].magic, known[i].len) == 0)
			return known[i].packing;
	/* A frame to be passed over: of zstd or lz4. */
	if (len >= 4 && (data[0] & 0xf0) == 0x50 && memcmp(data + 1, "\x2a\x4d\x18", 3) == 0)
		return OTHER;
	return PLAIN;
}

bool unpack_begins_with(const uint8_t *data, size_t len)
{
	return packing_of(data, len) != PLAIN;
}

/* --- gzip --- */

/* What follows a member: another one, zeros up to the end, or damage. */
static int next_member(struct unpack *unpack)
{
	const uint8_t *data;
	size_t len, zeros;
	int r;

	while ((r = stream_in_peek(unpack->in, 2, &data, &len)) == 1 && data[0] == 0) {
		for (zeros = 0; zeros < len && data[zeros] == 0; zeros++)
			;
		stream_in_take(unpack->in, zeros);
	}
	if (r <= 0) {
		unpack->ended = r == 0;
		return r;
	}
	if (packing_of(data, len) != GZIP)
		return damaged(unpack, "something that is no gzip follows it");
	unpack->in_member = true;
	return inflateReset(&unpack->zlib) == Z_OK ? 1 : -ENOMEM;
}

/* What follows a deflated stream is nothing. */
static int end_deflate(struct unpack *unpack)
{
	const uint8_t *data;
	size_t len;
	int r = stream_in_next(unpack->in, &data, &len);

	unpack->ended = r == 0;
	return r == 1 ? damaged(unpack, "something else follows it") : r;
}

static int zlib_step(struct unpack *unpack)
{
	z_stream *zlib = &unpack->zlib;
	const uint8_t *data;
	size_t len;
	int r = 1, result;

	if (!unpack->in_member)
		r = unpack->packing == GZIP ? next_member(unpack) : end_deflate(unpack);

	if (r <= 0)
		return r;
	r = stream_in_next(unpack->in, &data, &len);
	/* Of all that it has been given, zlib may owe us more than one block holds. */
	if (r < 0 || (r == 0 && !unpack->is_full))
		return r < 0 ? r : damaged(unpack, "it ends early");
	if (r == 0)
		len = 0;
	zlib->next_in = len > 0 ? (Bytef *)data : NULL;
	zlib->avail_in = (uInt)len;
	zlib->next_out = unpack->out;
	zlib->avail_out = STREAM_BLOCK;
	result = inflate(zlib, Z_NO_FLUSH);
	stream_in_take(unpack->in, len - zlib->avail_in);
	if (result == Z_STREAM_END)
		unpack->in_member = false;
	else if (result != Z_OK && result != Z_BUF_ERROR)
		return damaged(unpack, zlib->msg);
	unpack->block = unpack->out;
	unpack->block_len = STREAM_BLOCK - zlib->avail_out;
	unpack->is_full = zlib->avail_out == 0;
	return 1;
}

/* --- the others --- */

static la_ssize_t give(struct archive *archive, void *arg, const void **ret_block)
{
	struct unpack *unpack = arg;
	int r = stream_in_next(unpack->in, &unpack->given, &unpack->given_len);

	unpack->stream_result = MIN(r, 0);
	if (r < 0) {
		archive_set_error(archive, -r, "%s", error_text(r));
		return ARCHIVE_FATAL;
	}
	if (r == 0)
		unpack->given_len = 0;
	stream_in_take(unpack->in, unpack->given_len);
	*ret_block = unpack->given;
	return (la_ssize_t)unpack->given_len;
}

static int archive_failed(struct unpack *unpack)
{
	return unpack->stream_result < 0 ? unpack->stream_result : damaged(unpack, archive_error_string(unpack->archive));
}

/* Some of its filters take whatever they do not know for the end. */
static int check_rest(struct unpack *unpack)
{
	uint64_t used = (uint64_t)archive_filter_bytes(unpack->archive, -1), left = stream_in_position(unpack->in) - used;
	const uint8_t *data;
	size_t len;
	int r;

	if (left > unpack->given_len || !bytes_are_zeros(unpack->given + (unpack->given_len - left), left))
		return damaged(unpack, "something else follows it");
	while ((r = stream_in_next(unpack->in, &data, &len)) == 1) {
		if (!bytes_are_zeros(data, len))
			return damaged(unpack, "something else follows it");
		stream_in_take(unpack->in, len);
	}
	return r;
}

static int archive_step(struct unpack *unpack)
{
	const void *block;
	la_int64_t offset;
	int r = archive_read_data_block(unpack->archive, &block, &unpack->block_len, &offset);

	if (r == ARCHIVE_EOF) {
		unpack->block_len = 0;
		r = check_rest(unpack);
		unpack->ended = r == 0;
		return r;
	}
	unpack->block = block;
	return r == ARCHIVE_OK ? 1 : archive_failed(unpack);
}

static int archive_begin(struct unpack *unpack)
{
	struct archive_entry *entry;
	int r;

	unpack->archive = archive_read_new();
	if (!unpack->archive)
		return -ENOMEM;
	archive_read_support_format_raw(unpack->archive);
	archive_read_support_format_empty(unpack->archive);
	archive_read_support_filter_zstd(unpack->archive);
	archive_read_support_filter_bzip2(unpack->archive);
	archive_read_support_filter_xz(unpack->archive);
	archive_read_support_filter_lz4(unpack->archive);
	r = archive_read_open(unpack->archive, unpack, NULL, give, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(unpack->archive, &entry);
	if (r == ARCHIVE_EOF)
		unpack->ended = true;
	return r == ARCHIVE_OK || r == ARCHIVE_EOF ? 0 : archive_failed(unpack);
}

/* --- all --- */

static int begin(struct unpack *unpack, enum unpack_form form)
{
	const uint8_t *data;
	size_t len;
	int r = form == UNPACK_KNOWN ? stream_in_peek(unpack->in, MAGIC_MAX, &data, &len) : 0;

	if (form == UNPACK_DEFLATE)
		unpack->packing = DEFLATE;
	else if (r > 0)
		unpack->packing = packing_of(data, len);
	if (unpack->packing == GZIP || unpack->packing == DEFLATE) {
		unpack->out = malloc(STREAM_BLOCK);
		unpack->in_member = true;
		return unpack->out && inflateInit2(&unpack->zlib, form == UNPACK_DEFLATE ? DEFLATE_WINDOW : GZIP_WINDOW) == Z_OK ? 0 : -ENOMEM;
	}
	return unpack->packing == OTHER ? archive_begin(unpack) : r;
}

struct unpack *unpack_new(struct stream_in *in, enum unpack_form form)
{
	struct unpack *unpack = xcalloc(1, sizeof(*unpack));

	unpack->in = in;
	unpack->begun = begin(unpack, form);
	return unpack;
}

void unpack_free(struct unpack *unpack)
{
	if (!unpack)
		return;
	if (unpack->packing == GZIP || unpack->packing == DEFLATE)
		inflateEnd(&unpack->zlib);
	archive_read_free(unpack->archive);
	free(unpack->out);
	free(unpack);
}

/* 1 when there are bytes in the block, 0 at the end. */
static int step(struct unpack *unpack)
{
	int r = unpack->begun < 0 ? unpack->begun : 1;

	while (r == 1 && unpack->block_len == 0 && !unpack->ended)
		r = unpack->packing == OTHER ? archive_step(unpack) : zlib_step(unpack);
	return r < 0 ? r : unpack->block_len > 0;
}

int unpack_peek(struct unpack *unpack, const uint8_t **ret_data, size_t *ret_len)
{
	int r = step(unpack);

	*ret_data = unpack->block;
	*ret_len = unpack->block_len;
	return r;
}

int unpack_some(struct unpack *unpack, uint64_t most, const void **ret_data, size_t *ret_len)
{
	const uint8_t *data;
	size_t len;
	int r = unpack->begun;

	if (r >= 0 && unpack->packing == PLAIN) {
		r = stream_in_next(unpack->in, &data, &len);
		if (r == 1) {
			*ret_data = data;
			*ret_len = MIN(len, most);
			stream_in_take(unpack->in, *ret_len);
		}
		return r;
	}
	r = step(unpack);
	if (r == 1) {
		*ret_data = unpack->block;
		*ret_len = MIN(unpack->block_len, most);
		unpack->block += *ret_len;
		unpack->block_len -= *ret_len;
	}
	return r;
}

int unpack_copy(struct unpack *unpack, void *out, size_t len, size_t *ret_len)
{
	size_t done = 0, got;
	const void *data;
	int r = 1;

	while (r == 1 && done < len) {
		r = unpack_some(unpack, len - done, &data, &got);
		if (r == 1) {
			memcpy((uint8_t *)out + done, data, got);
			done += got;
		}
	}
	*ret_len = done;
	return r < 0 ? r : 0;
}

int unpack_skip(struct unpack *unpack, uint64_t len)
{
	const void *data;
	uint64_t done = 0;
	size_t got;
	int r = 1;

	if (unpack->packing == PLAIN)
		r = stream_in_skip(unpack->in, len, &done);
	while (unpack->packing != PLAIN && r == 1 && done < len) {
		r = unpack_some(unpack, len - done, &data, &got);
		done += r == 1 ? got : 0;
	}
	if (r < 0)
		return r;
	return done < len ? damaged(unpack, "it ends early") : 0;
}

int unpack_drain(struct unpack *unpack, bool *ret_more)
{
	const void *data;
	bool more = false;
	size_t got;
	int r;

	while ((r = unpack_some(unpack, UINT64_MAX, &data, &got)) == 1) {
		const uint8_t *bytes = data;
		if (stream_in_stopped(unpack->in))
			return -ECANCELED;
		more = more || bytes[0] || memcmp(bytes, bytes + 1, got - 1) != 0;
	}
	if (ret_more)
		*ret_more = more;
	return r;
}

const char *unpack_problem(const struct unpack *unpack)
{
	return unpack->problem;
}
