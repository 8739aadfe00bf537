/* Frames of streams: what is encoded is decoded, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "lib/stream/position.h"
#include "tests/unit/round_trip.h"
#include "tests/unit/stream_again.h"

#define CHECKSUM_OF_CORPUSFS 0x118c8f943e0fd720ULL

static void headers_come_back(void **state)
{
	const struct stream_header header = {.has_base = true, .level = 3, .stream = {1}, .snapshot = {2}, .identity = {3}, .base = {4},
	                                     .base_identity = {5}, .taken = {-5, 7}, .step = 1ULL << 40, .offset = 9, .dataset_name = "data",
	                                     .snapshot_name = "v1", .base_name = "v0", .note = "said"};
	AUTO_BUF body = BUF_INIT;

	stream_header_encode(&header, &body);
	abuse(stream_header_again, &body);
}

static void entries_come_back(void **state)
{
	struct stream_entry entry = {.kind = STREAM_OLD, .directory = 7, .label = 8, .flags = STREAM_OLD_LOST, .name = "\xff\n", .attributes = {.target = ""}};
	AUTO_BUF xattrs = BUF_INIT;
	AUTO_BUF body = BUF_INIT;

	stream_entry_encode(&entry, &body);
	abuse(stream_old_again, &body);
	buf_reset(&body);
	entry.kind = STREAM_NAME;
	stream_entry_encode(&entry, &body);
	abuse(stream_name_again, &body);
	buf_reset(&body);
	stream_xattr_encode("user.a", "value", 5, &xattrs);
	stream_xattr_encode("user.b", "", 0, &xattrs);
	entry = (struct stream_entry){.kind = STREAM_NODE, .directory = 1, .label = 2, .flags = STREAM_MORE_NAMES, .name = "link",
	                              .attributes = {.mode = S_IFLNK | 0777, .uid = 1, .gid = 2, .atime = {-1, 1}, .mtime = {1LL << 40, 999999999},
	                                             .target = "there", .xattr_count = 2, .xattrs = reader_over(xattrs.data, xattrs.len)}};
	stream_entry_encode(&entry, &body);
	abuse(stream_node_again, &body);
	buf_reset(&body);
	entry.kind = STREAM_META;
	entry.flags = STREAM_MORE;
	entry.attributes.mode = S_IFREG | 06755;
	entry.attributes.size = 1ULL << 50;
	entry.attributes.target = "";
	stream_entry_encode(&entry, &body);
	abuse(stream_meta_again, &body);
	buf_reset(&body);
	entry.kind = STREAM_LEAVE;
	stream_entry_encode(&entry, &body);
	abuse(stream_leave_again, &body);
}

static void content_comes_back(void **state)
{
	static const uint8_t sha256[STREAM_ID_LEN] = {1, 2, 3};
	const struct stream_data data = {.offset = 1ULL << 40, .plain_len = 5, .codec = 0, .sha256 = sha256};
	const struct stream_space space = {.offset = 4096, .length = 1ULL << 40, .allocated = true};
	AUTO_BUF body = BUF_INIT;

	stream_data_encode(&data, &body);
	assert_int_equal(body.len, STREAM_DATA_HEADER);
	buf_add(&body, "plain", 5);
	abuse(stream_data_again, &body);
	buf_reset(&body);
	stream_space_encode(&space, &body);
	abuse(stream_space_again, &body);
}

static void frames_that_are_too_long_or_unknown_are_refused(void **state)
{
	uint8_t header[STREAM_FRAME_HEADER];
	enum stream_kind kind;
	uint32_t len;

	stream_frame_encode(STREAM_DATA, 77, header);
	assert_int_equal(stream_frame_decode(header, &kind, &len), 0);
	assert_int_equal(kind, STREAM_DATA);
	assert_int_equal(len, 77);
	stream_frame_encode(STREAM_DATA, STREAM_BODY_MAX + 1, header);
	assert_int_equal(stream_frame_decode(header, &kind, &len), -EBADMSG);
	stream_frame_encode(STREAM_END + 1, 0, header);
	assert_int_equal(stream_frame_decode(header, &kind, &len), -EBADMSG);
	stream_frame_encode(STREAM_END, 0, header);
	header[7] = 1;
	assert_int_equal(stream_frame_decode(header, &kind, &len), -EBADMSG);
}

/* Others read our streams: what a checksum is of does not change. */
static void checksums_are_as_the_format_says(void **state)
{
	const struct stream_piece pieces[] = {{"corpus", 6}, {"fs", 2}}, whole = {"corpusfs", 8};

	assert_true(stream_checksum(STREAM_SEED, pieces, 2) == stream_checksum(STREAM_SEED, &whole, 1));
	assert_true(stream_checksum(STREAM_SEED, &whole, 1) == CHECKSUM_OF_CORPUSFS);
	assert_true(stream_checksum(1, &whole, 1) != CHECKSUM_OF_CORPUSFS);
}

static void tokens_come_back(void **state)
{
	const struct stream_position position = {.snapshot = {1, 2}, .base = {[31] = 255}, .step = ~0ULL, .offset = 5};
	struct stream_position again;
	char token[STREAM_TOKEN_MAX];

	position_to_token(&position, token);
	assert_int_equal(position_from_token(token, &again), 0);
	assert_memory_equal(&again, &position, sizeof(again));
	for (size_t i = 0; token[i]; i++) {
		token[i] ^= 1;
		assert_int_equal(position_from_token(token, &again), -EINVAL);
		token[i] ^= 1;
	}
	assert_int_equal(position_from_token("", &again), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_come_back),
		cmocka_unit_test(entries_come_back),
		cmocka_unit_test(content_comes_back),
		cmocka_unit_test(frames_that_are_too_long_or_unknown_are_refused),
		cmocka_unit_test(checksums_are_as_the_format_says),
		cmocka_unit_test(tokens_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
