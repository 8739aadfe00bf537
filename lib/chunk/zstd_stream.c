#include "lib/chunk/zstd_stream.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "lib/base/buf.h"

struct zstd_stream {
	ZSTD_CCtx *context;
};

struct zstd_stream *zstd_stream_new(int level, unsigned threads)
{
	struct zstd_stream *stream = xcalloc(1, sizeof(*stream));

	stream->context = ZSTD_createCCtx();
	if (!stream->context) {
		free(stream);
		return NULL;
	}
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
		return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
	step->data += in.pos;
	step->len -= in.pos;
	step->out_len = out.pos;
	return step->len == 0 && (!step->end || left == 0);
}

int zstd_unpack_whole(const void *data, size_t len, size_t limit, struct buf *out)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = {.src = data, .size = len};
	size_t left = 1, added = 0;
	int result = context ? 0 : -ENOMEM;

	while (result == 0 && (in.pos < in.size || left > 0)) {
		ZSTD_outBuffer step;

		buf_reserve(out, ZSTD_DStreamOutSize());
		step = (ZSTD_outBuffer){.dst = out->data + out->len, .size = ZSTD_DStreamOutSize()};
		left = ZSTD_decompressStream(context, &step, &in);
		out->len += step.pos;
		added += step.pos;
		if (ZSTD_isError(left) || (in.pos == in.size && step.pos == 0 && left > 0))
			result = -EBADMSG;
		else if (added > limit)
			result = -EFBIG;
	}
	ZSTD_freeDCtx(context);
	return result;
}
