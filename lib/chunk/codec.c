#include "lib/chunk/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "lib/base/buf.h"

/* The sample is gathered from all over the data, so that stripes of different kinds are seen in their true proportion. */
#define SAMPLE_LEN 4096U
#define SAMPLE_PARTS 16U
#define PART_LEN (SAMPLE_LEN / SAMPLE_PARTS)
#define SAMPLE_LEVEL (-3) /* finds repetitions only: the entropy was estimated before */
/* Below this a sample would cost as much as compressing everything. */
#define SAMPLE_MIN ((size_t)SAMPLE_LEN * 4)

struct codec {
	ZSTD_CCtx *packer;
	ZSTD_DCtx *unpacker; /* each made at first use: reading threads need no packer */
	uint8_t *scratch;    /* large enough for the worst case: zstd is faster then */
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

/*
 * The length up to which a compressed form is worth having. In a store, at level 1, speed counts, so it must save a fifth. (Stripes of text and noise
 * shrink by 17%. That costs 2.7 s of a core per GiB when they come in, and 1.0 s each time they are read: more than any disk needs to read
 * those 17%.) Whoever chooses a higher level wants the space.
 */
static size_t worth(bool is_tight, size_t len)
{
	return !is_tight ? len - len / 5 : len - (len + 15) / 16;
}

/* A sample shrinks less than the whole does. */
static size_t sample_worth(bool is_tight)
{
	return !is_tight ? SAMPLE_LEN - SAMPLE_LEN * 3 / 16 : SAMPLE_LEN - SAMPLE_LEN / 32;
}

/* log2, in quarters, rounded down. */
static unsigned log2_quarters(uint64_t value)
{
	return 63 - (unsigned)__builtin_clzll(value * value * value * value);
}

/* The length of the sample if each byte took as many bits as its frequency tells (Shannon), but for the rounding of the logarithm. */
static size_t entropy_len(const uint8_t *sample)
{
	uint16_t counts[4][256] = {{0}}; /* four, since equal bytes that follow one another would wait for each other */
	unsigned quarter_bits = 0;

	for (unsigned i = 0; i < SAMPLE_LEN; i += 4)
		for (unsigned j = 0; j < 4; j++)
			counts[j][sample[i + j]]++;
	for (unsigned i = 0; i < 256; i++) {
		unsigned count = counts[0][i] + counts[1][i] + counts[2][i] + counts[3][i];

		if (count)
			quarter_bits += count * (log2_quarters(SAMPLE_LEN) - log2_quarters(count));
	}
	return quarter_bits / 32;
}

enum worth {
	NOT_WORTH,
	WORTH_CODES, /* some bytes are more frequent than others, which saves less than a fifth, and nothing is seen to be repeated */
	WORTH_ALL,
};

static enum worth looks_worth(struct codec *codec, const void *data, size_t len, bool is_tight)
{
	const uint8_t *bytes = data;
	uint8_t sample[SAMPLE_LEN];
	size_t coded;

	if (!len)
		return NOT_WORTH;
	if (len < SAMPLE_MIN)
		return WORTH_ALL;
	for (size_t i = 0; i < SAMPLE_PARTS; i++)
		memcpy(sample + i * PART_LEN, bytes + i * (len / SAMPLE_PARTS), PART_LEN);
	coded = entropy_len(sample);
	if (coded <= sample_worth(false))
		return WORTH_ALL;
	if (packer_ready(codec, SAMPLE_LEN))
		return NOT_WORTH;
	if (squeeze(codec, sample, SAMPLE_LEN, SAMPLE_LEVEL) <= sample_worth(is_tight))
		return WORTH_ALL;
	return coded <= sample_worth(is_tight) ? WORTH_CODES : NOT_WORTH;
}

bool codec_try(struct codec *codec, const void *data, size_t len, int level)
{
	return level > 0 && looks_worth(codec, data, len, level > 1) != NOT_WORTH;
}

/*
 * Where space counts, but level 1 was chosen for speed: shorter codes for frequent bytes (Huffman), and hardly a look for repetitions. Stripes of text
 * and noise in chunks of 64 KiB shrink to 0.867 for 1.5 s of a core per GiB; level 1 makes 0.826 for 3.8 s.
 */
static size_t squeeze_by_codes(struct codec *codec, const uint8_t *data, size_t len)
{
	size_t got;

	(void)ZSTD_CCtx_setParameter(codec->packer, ZSTD_c_compressionLevel, 1);
	(void)ZSTD_CCtx_setParameter(codec->packer, ZSTD_c_strategy, ZSTD_fast);
	(void)ZSTD_CCtx_setParameter(codec->packer, ZSTD_c_minMatch, 7);
	(void)ZSTD_CCtx_setParameter(codec->packer, ZSTD_c_hashLog, ZSTD_cParam_getBounds(ZSTD_c_hashLog).lowerBound);
	got = ZSTD_compress2(codec->packer, codec->scratch, codec->scratch_len, data, len);
	return ZSTD_isError(got) ? len : got;
}

static int pack(struct codec *codec, const void *data, size_t len, int level, bool is_tight, uint8_t **ret_packed, size_t *ret_len)
{
	const enum worth looks = level > 0 ? looks_worth(codec, data, len, is_tight) : NOT_WORTH;
	uint8_t *packed;
	size_t got;

	if (looks == NOT_WORTH)
		return 0;
	if (packer_ready(codec, len))
		return -ENOMEM;
	got = looks == WORTH_CODES && level == 1 ? squeeze_by_codes(codec, data, len) : squeeze(codec, data, len, level);
	if (got > worth(is_tight, len))
		return 0;
	packed = malloc(got);
	if (!packed)
		return -ENOMEM;
	memcpy(packed, codec->scratch, got);
	*ret_packed = packed;
	*ret_len = got;
	return 1;
}

int codec_pack(struct codec *codec, const void *data, size_t len, int level, uint8_t **ret_packed, size_t *ret_len)
{
	return pack(codec, data, len, level, level > 1, ret_packed, ret_len);
}

int codec_pack_tight(struct codec *codec, const void *data, size_t len, int level, uint8_t **ret_packed, size_t *ret_len)
{
	return pack(codec, data, len, level, true, ret_packed, ret_len);
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
