/*
 * How far a stream was applied, and the token by which its receiver tells that to the sender: text without blanks, good as one word in a shell.
 *
 *   token  "corpusfs-" and in hexadecimal: u8 version | 32 snapshot | 32 base (zeros: none) | u64 step | u64 offset | u64 checksum of these
 */
#ifndef CORPUSFS_STREAM_POSITION_H
#define CORPUSFS_STREAM_POSITION_H

#include "lib/format/stream.h"

struct stream_position {
	uint8_t snapshot[STREAM_ID_LEN], base[STREAM_ID_LEN];
	uint64_t step, offset;
};

#define STREAM_TOKEN_MAX 256
void position_to_token(const struct stream_position *position, char ret_token[STREAM_TOKEN_MAX]);
WARN_UNUSED int position_from_token(const char *token, struct stream_position *ret_position); /* -EINVAL: it is none */

/* The number of a stream: that of its snapshot and its base. */
void position_stream(const uint8_t snapshot[STREAM_ID_LEN], const uint8_t base[STREAM_ID_LEN], uint8_t ret_stream[STREAM_ID_LEN]);

#endif
