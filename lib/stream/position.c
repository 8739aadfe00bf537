#include "lib/stream/position.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/chunk/digest.h"

#define TOKEN_TEXT "corpusfs-"
#define TOKEN_VERSION 1
#define TOKEN_LEN (1 + 2 * STREAM_ID_LEN + 16)

_Static_assert(sizeof(TOKEN_TEXT) + 2 * (TOKEN_LEN + 8) <= STREAM_TOKEN_MAX, "a token fits into its text");

static uint64_t checksum_of(const struct buf *bytes)
{
	const struct stream_piece piece = {bytes->data, TOKEN_LEN};

	return stream_checksum(STREAM_SEED, &piece, 1);
}

void position_to_token(const struct stream_position *position, char ret_token[STREAM_TOKEN_MAX])
{
	AUTO_BUF bytes = BUF_INIT;
	size_t len = sizeof(TOKEN_TEXT) - 1;

	buf_add_u8(&bytes, TOKEN_VERSION);
	buf_add(&bytes, position->snapshot, STREAM_ID_LEN);
	buf_add(&bytes, position->base, STREAM_ID_LEN);
	buf_add_le64(&bytes, position->step);
	buf_add_le64(&bytes, position->offset);
	buf_add_le64(&bytes, checksum_of(&bytes));
	(void)snprintf(ret_token, STREAM_TOKEN_MAX, "%s", TOKEN_TEXT);
	for (size_t i = 0; i < bytes.len; i++, len += 2)
		(void)snprintf(ret_token + len, STREAM_TOKEN_MAX - len, "%02x", bytes.data[i]);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int position_from_token(const char *token, struct stream_position *ret_position)
{
	struct stream_position position;
	AUTO_BUF bytes = BUF_INIT;

	if (strncmp(token, TOKEN_TEXT, strlen(TOKEN_TEXT)) != 0)
		return -EINVAL;
	token += strlen(TOKEN_TEXT);
	if (strlen(token) != 2 * (TOKEN_LEN + 8))
		return -EINVAL;
	for (; *token; token += 2) {
		const int high = digit(token[0]), low = digit(token[1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		buf_add_u8(&bytes, (uint8_t)(high * 16 + low));
	}
	struct reader reader = reader_over(bytes.data, bytes.len);
	const uint8_t version = read_u8(&reader);
	memcpy(position.snapshot, read_bytes(&reader, STREAM_ID_LEN), STREAM_ID_LEN);
	memcpy(position.base, read_bytes(&reader, STREAM_ID_LEN), STREAM_ID_LEN);
	position.step = read_le64(&reader);
	position.offset = read_le64(&reader);
	if (read_le64(&reader) != checksum_of(&bytes) || version != TOKEN_VERSION)
		return -EINVAL;
	*ret_position = position;
	return 0;
}

void position_stream(const uint8_t snapshot[STREAM_ID_LEN], const uint8_t base[STREAM_ID_LEN], uint8_t ret_stream[STREAM_ID_LEN])
{
	struct digest *digest = digest_new();

	digest_update(digest, snapshot, STREAM_ID_LEN);
	digest_update(digest, base, STREAM_ID_LEN);
	digest_final(digest, ret_stream);
	digest_free(digest);
}
