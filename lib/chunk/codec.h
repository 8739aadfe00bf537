/*
 * Compression of single chunks (zstd). A codec holds the contexts of one thread at a time, reused from chunk to chunk.
 */
#ifndef CORPUSFS_CHUNK_CODEC_H
#define CORPUSFS_CHUNK_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct codec;

struct codec *codec_new(void);
void codec_free(struct codec *codec); /* NULL is fine */

/* Whether a sample of the data suggests that codec_pack() will find it worth compressing. So JPEG, zstd or a tar of them cost a glance. */
bool codec_try(struct codec *codec, const void *data, size_t len, int level);

/*
 * Compresses at `level`; 0 or less: never. Returns 1 and a result that the caller frees, if that saves at least a sixteenth (at level 1: at
 * least a fifth). Returns 0 if the data is better stored plain, or -ENOMEM.
 */
WARN_UNUSED int codec_pack(struct codec *codec, const void *data, size_t len, int level, uint8_t **ret_packed, size_t *ret_len);
/* The same where space counts for more than reading: a sixteenth is worth it at level 1, too, though not the time of all of zstd. */
WARN_UNUSED int codec_pack_tight(struct codec *codec, const void *data, size_t len, int level, uint8_t **ret_packed, size_t *ret_len);

/* Writes exactly plain_len bytes. -EBADMSG: the stored bytes do not hold that; -ENOMEM. */
WARN_UNUSED int codec_unpack(struct codec *codec, const void *stored, size_t stored_len, void *out, size_t plain_len);

#endif
