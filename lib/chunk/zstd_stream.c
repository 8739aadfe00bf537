#include "lib/chunk/zstd_stream.h"

#include <errno.h>
#include <zstd.h>

#include "lib/base/buf.h"

struct zstd_stream {
	ZSTD_CCtx *context;
};

struct zstd_stream *zstd_stream_new(int level, unsigned threads)
{
	struct zstd_stream *stream = xcalloc(1, sizeof(*stream));

	stream->context = ZSTD_createCCtx();
	if (!stream->context)
		abort();
	if (ZSTD_isError(ZSTD_CCtx_setParameter(stream->context, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(stream->context, ZSTD_c_checksumFlag, 1)))
		abort();
	/* A library without threads compresses in ours. */
	ZSTD_CCtx_setParameter(stream->context, ZSTD_c_nbWorkers, (int)threads);
	return stream;
}

void zstd_stream_free(struct zstd_stream *stream)
{
	if (!stream)
		return;
	ZSTD_freeCCtx(stream->context);
	free(stream);
}

int zstd_stream_step(struct zstd_stream *stream, struct zstd_step *step)
{
	ZSTD_inBuffer in = {.src = step->data, .size = step->len};
	ZSTD_outBuffer out = {.dst = step->out, .size = step->out_cap};
	size_t left = ZSTD_compressStream2(stream->context, &out, &in, step->end ? ZSTD_e_end : ZSTD_e_continue);

	if (ZSTD_isError(left))
		return -EIO;
	step->data += in.pos;
	step->len -= in.pos;
	step->out_len = out.pos;
	return step->len == 0 && (!step->end || left == 0);
}
