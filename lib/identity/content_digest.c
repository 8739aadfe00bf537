#include "lib/identity/content_digest.h"

#include <string.h>

#include "lib/base/clean.h"

#define TAG "corpusfs-sparse"
/* Data is looked at in blocks: a run that lies within one is too short to count. */
#define BLOCK (16U << 10)

static const uint8_t zero_block[BLOCK];

_Static_assert(BLOCK < CONTENT_RUN_MIN, "a run reaches over the end of a block");

static void add_u64(struct digest *digest, uint64_t value)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	digest_update(digest, bytes, sizeof(bytes));
}

void content_digest_begin(struct content_digest *content, struct digest *digest, uint64_t size)
{
	*content = (struct content_digest){.piece = digest, .size = size};
}

void content_digest_clear(struct content_digest *content)
{
	digest_free(content->list);
	content->list = NULL;
}

static void end_piece(struct content_digest *content, uint64_t end)
{
	uint8_t digest[DIGEST_LEN];

	if (!content->list) {
		content->list = digest_new();
		digest_update(content->list, TAG, sizeof(TAG));
	}
	if (content->piece_at == end)
		return;
	add_u64(content->list, content->piece_at);
	digest_final(content->piece, digest);
	digest_update(content->list, digest, sizeof(digest));
}

/* The zeros before `at` are all there are: a run, or part of the piece. */
static void settle_zeros(struct content_digest *content)
{
	if (content->size > CONTENT_PLAIN_MAX && content->zeros >= CONTENT_RUN_MIN) {
		end_piece(content, content->at - content->zeros);
		content->piece_at = content->at;
		content->zeros = 0;
	}
	while (content->zeros > 0) {
		size_t len = (size_t)MIN(content->zeros, BLOCK);
		digest_update(content->piece, zero_block, len);
		content->zeros -= len;
	}
}

/* So many zeros the data begins with. */
static size_t leading_zeros(const uint8_t *data, size_t len)
{
	size_t count = 0;

	if (len > 0 && data[0] == 0 && memcmp(data, zero_block, len) == 0)
		return len;
	while (count < len && data[count] == 0)
		count++;
	return count;
}

static void add_block(struct content_digest *content, const uint8_t *data, size_t len)
{
	size_t first = leading_zeros(data, len), end = len;

	content->zeros += first;
	content->at += first;
	if (first == len)
		return;
	settle_zeros(content);
	while (data[end - 1] == 0)
		end--;
	digest_update(content->piece, data + first, end - first);
	content->zeros = len - end;
	content->at += len - first;
}

void content_digest_data(struct content_digest *content, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len; at += BLOCK)
		add_block(content, data + at, MIN(len - at, BLOCK));
}

void content_digest_zeros(struct content_digest *content, uint64_t len)
{
	content->zeros += len;
	content->at += len;
}

void content_digest_final(struct content_digest *content, uint8_t ret_digest[DIGEST_LEN], bool *ret_is_sparse)
{
	settle_zeros(content);
	*ret_is_sparse = content->list != NULL;
	if (!content->list) {
		digest_final(content->piece, ret_digest);
		return;
	}
	end_piece(content, content->at);
	add_u64(content->list, content->size);
	digest_final(content->list, ret_digest);
	content_digest_clear(content);
}
