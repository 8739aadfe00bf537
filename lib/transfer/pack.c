#include "lib/transfer/pack.h"

#include <errno.h>
#include <limits.h>
#include <zlib.h>

#include "lib/base/buf.h"
#include "lib/chunk/zstd_stream.h"

#define OUT_LEN (256U << 10)
#define GZIP_WINDOW (15 + 16) /* zlib: the largest window, and gzip's header and trailer */
#define GZIP_MEMORY 8         /* zlib's default */
#define ZSTD_LEVEL 3
#define ZSTD_THREADS_MAX 4

struct pack {
	struct stream_out *out;
	enum packing packing;
	z_stream gzip;
	struct zstd_stream *zstd;
	uint8_t *room; /* compressed bytes, OUT_LEN */
};

static unsigned zstd_threads(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)MIN(MAX(cpus, 1), ZSTD_THREADS_MAX);
}

struct pack *pack_new(struct stream_out *out, enum packing packing)
{
	struct pack *pack = xcalloc(1, sizeof(*pack));
	bool made = true;

	pack->out = out;
	pack->packing = packing;
	if (packing != PACK_PLAIN)
		pack->room = xmalloc(OUT_LEN);
	if (packing == PACK_ZSTD)
		made = (pack->zstd = zstd_stream_new(ZSTD_LEVEL, zstd_threads())) != NULL;
	if (packing == PACK_GZIP)
		made = deflateInit2(&pack->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK;
	if (made)
		return pack;
	pack_free(pack);
	return NULL;
}

void pack_free(struct pack *pack)
{
	if (!pack)
		return;
	if (pack->packing == PACK_GZIP)
		deflateEnd(&pack->gzip);
	zstd_stream_free(pack->zstd);
	free(pack->room);
	free(pack);
}

static int put_zstd(struct pack *pack, const void *data, size_t len, bool end)
{
	struct zstd_step step = {.data = data, .len = len, .end = end, .out = pack->room, .out_cap = OUT_LEN};
	int done, r;

	do {
		done = zstd_stream_step(pack->zstd, &step);
		r = done < 0 ? done : stream_out_put(pack->out, pack->room, step.out_len);
	} while (r == 0 && done == 0);
	return r;
}

static int put_gzip(struct pack *pack, const void *data, size_t len, bool end)
{
	z_stream *gzip = &pack->gzip;
	int code, r;

	gzip->next_in = (Bytef *)data;
	gzip->avail_in = (uInt)len;
	do {
		gzip->next_out = pack->room;
		gzip->avail_out = OUT_LEN;
		code = deflate(gzip, end ? Z_FINISH : Z_NO_FLUSH);
		r = code == Z_STREAM_ERROR ? -EIO : stream_out_put(pack->out, pack->room, OUT_LEN - gzip->avail_out);
	} while (r == 0 && (end ? code != Z_STREAM_END : gzip->avail_out == 0));
	return r;
}

int pack_put(struct pack *pack, const void *data, size_t len)
{
	const uint8_t *at = data;
	int r = 0;

	switch (pack->packing) {
	case PACK_PLAIN: return stream_out_put(pack->out, data, len);
	case PACK_ZSTD: return put_zstd(pack, data, len, false);
	case PACK_GZIP:
		while (r == 0 && len > 0) {
			size_t part = MIN(len, (size_t)INT_MAX);

			r = put_gzip(pack, at, part, false);
			at += part;
			len -= part;
		}
	}
	return r;
}

int pack_end(struct pack *pack)
{
	int r = 0;

	if (pack->packing == PACK_ZSTD)
		r = put_zstd(pack, "", 0, true);
	else if (pack->packing == PACK_GZIP)
		r = put_gzip(pack, "", 0, true);
	return r < 0 ? r : stream_out_flush(pack->out);
}
