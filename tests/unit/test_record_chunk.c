#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/format/key.h"
#include "lib/format/record.h"
#include "tests/unit/round_trip.h"

static void test_chunk_header(void **state)
{
	struct chunk_header header = {.checksum = 0x1122334455667788, .codec = CHUNK_CODEC_PLAIN, .plain_len = 4}, back;
	uint8_t value[CHUNK_HEADER_LEN + 4];

	memset(header.sha256, 0xab, sizeof(header.sha256));
	chunk_header_encode(&header, value);
	memcpy(value + CHUNK_HEADER_LEN, "data", 4);
	assert_int_equal(chunk_header_decode(value, sizeof(value), &back), 0);
	assert_true(back.checksum == header.checksum && back.plain_len == 4 && back.stored_len == 4);
	assert_ptr_equal(back.stored, value + CHUNK_HEADER_LEN);
	assert_memory_equal(back.sha256, header.sha256, 32);
	for (size_t len = 0; len < sizeof(value); len++) {
		AUTO_FREE uint8_t *copy = xmalloc(len);
		memcpy(copy, value, len);
		assert_int_equal(chunk_header_decode(copy, len, &back), -EBADMSG);
	}
	header.codec = CHUNK_CODEC_ZSTD;
	header.plain_len = 1000;
	chunk_header_encode(&header, value);
	assert_int_equal(chunk_header_decode(value, sizeof(value), &back), 0);
	/* codec, hash, cipher */
	for (size_t at = 9; at < 12; at++) {
		uint8_t before = value[at];
		value[at] = 2;
		assert_int_equal(chunk_header_decode(value, sizeof(value), &back), -EBADMSG);
		value[at] = before;
	}
	assert_int_equal(chunk_header_decode(value, sizeof(value), &back), 0);
}

/* A keyed hash is reserved: what it made must not be taken for a SHA-256. `at`: the byte that says which hash it is. */
static void check_hash(round_trip *again, struct buf *value, size_t at)
{
	AUTO_BUF out = BUF_INIT;

	assert_int_equal(again(value->data, value->len, &out), 0);
	value->data[at] = HASH_SHA256 + 1;
	assert_int_equal(again(value->data, value->len, &out), -EBADMSG);
	value->data[at] = HASH_SHA256;
	abuse(again, value);
	buf_reset(value);
}

static void test_identities_say_how_they_were_made(void **state)
{
	struct digest_record digest = {.has_content = true, .size = 5, .allocated = 7};
	uint8_t identity[NODE_LEN] = {1, 2, 3};
	AUTO_BUF value = BUF_INIT;

	dedup_record_encode(&(struct dedup_record){.chunk = CHUNK_BULK | 7, .length = 100}, &value);
	check_hash(dedup_again, &value, 1);
	identity_record_encode(identity, &value);
	check_hash(identity_again, &value, 1);
	digest_record_encode(&digest, &value);
	check_hash(digest_again, &value, 2);
	digest.has_content = false;
	digest_record_encode(&digest, &value);
	check_hash(digest_again, &value, 2);
}

/* A remote chunk is not here; a version that does not know them must not look for it. */
static void test_reserved_chunk_ids_are_refused(void **state)
{
	const uint64_t reserved[] = {CHUNK_REMOTE | 5, CHUNK_BULK | CHUNK_REMOTE | 5, CHUNK_BULK};

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		struct extent_record extent = {.length = 10, .chunk = reserved[i]};
		struct small_key key = chunk_key(reserved[i]);
		struct dedup_record dedup = {.chunk = reserved[i], .length = 10};
		AUTO_BUF value = BUF_INIT;
		uint64_t id;

		extent_record_encode(&extent, &value);
		assert_int_equal(extent_record_decode(value.data, value.len, &extent), -EBADMSG);
		buf_reset(&value);
		dedup_record_encode(&dedup, &value);
		assert_int_equal(dedup_record_decode(value.data, value.len, &dedup), -EBADMSG);
		assert_int_equal(chunk_key_parse(key.bytes, key.len, &id), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk_header),
		cmocka_unit_test(test_identities_say_how_they_were_made),
		cmocka_unit_test(test_reserved_chunk_ids_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
