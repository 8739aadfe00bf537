#include "lib/chunk/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "lib/base/buf.h"

#define SAMPLE_LEN 4096
#define SAMPLE_LEVEL 1
/* Below this a sample would cost as much as the thing itself. */
#define SAMPLE_MIN ((size_t)SAMPLE_LEN * 4)

struct codec {
	ZSTD_CCtx *packer;
	ZSTD_DCtx *unpacker; /* each made at first use: reading threads need no packer */
	uint8_t *scratch;    /* of the worst case, so that zstd need not watch its output */
	size_t scratch_len;
};

struct codec *codec_new(void)
{
	return xcalloc(1, sizeof(struct codec));
}

void codec_free(struct codec *codec)
{
	if (!codec)
		return;
	ZSTD_freeCCtx(codec->packer);
	ZSTD_freeDCtx(codec->unpacker);
	free(codec->scratch);
	free(codec);
}

static int packer_ready(struct codec *codec, size_t len)
{
	size_t bound = ZSTD_compressBound(len);

	if (!codec->packer)
		codec->packer = ZSTD_createCCtx();
	if (codec->scratch_len < bound) {
		free(codec->scratch);
		codec->scratch = malloc(bound);
		codec->scratch_len = codec->scratch ? bound : 0;
	}
	return codec->packer && codec->scratch ? 0 : -ENOMEM;
}

/* Compressed length in scratch, or `len` when zstd cannot. */
static size_t squeeze(struct codec *codec, const uint8_t *data, size_t len, int level)
{
	size_t got = ZSTD_compressCCtx(codec->packer, codec->scratch, codec->scratch_len, data, len, level);

	return ZSTD_isError(got) ? len : got;
}

bool codec_try(struct codec *codec, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	size_t got;

	if (len < SAMPLE_MIN)
		return true;
	if (packer_ready(codec, SAMPLE_LEN))
		return false;
	got = squeeze(codec, bytes, SAMPLE_LEN, SAMPLE_LEVEL);
	got += squeeze(codec, bytes + len / 2, SAMPLE_LEN, SAMPLE_LEVEL);
	/* a small window shrinks less than the whole: ask the sample for half of what is asked of the chunk */
	return got <= 2 * SAMPLE_LEN - 2 * SAMPLE_LEN / 32;
}

int codec_pack(struct codec *codec, const void *data, size_t len, int level, uint8_t **ret_packed, size_t *ret_len)
{
	uint8_t *packed;
	size_t got;

	if (level <= 0 || !len || !codec_try(codec, data, len))
		return 0;
	if (packer_ready(codec, len))
		return -ENOMEM;
	got = squeeze(codec, data, len, level);
	if (got > len - (len + 15) / 16)
		return 0;
	packed = malloc(got);
	if (!packed)
		return -ENOMEM;
	memcpy(packed, codec->scratch, got);
	*ret_packed = packed;
	*ret_len = got;
	return 1;
}

int codec_unpack(struct codec *codec, const void *stored, size_t stored_len, void *out, size_t plain_len)
{
	if (!codec->unpacker)
		codec->unpacker = ZSTD_createDCtx();
	if (!codec->unpacker)
		return -ENOMEM;
	if (ZSTD_decompressDCtx(codec->unpacker, out, plain_len, stored, stored_len) != plain_len)
		return -EBADMSG; /* an error code of zstd is no possible length either */
	return 0;
}
