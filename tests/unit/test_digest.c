#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/chunk/digest_streams.h"
#include "lib/chunk/sha256_lanes.h"

#define DATA_LEN (4U << 20)
#define JOBS 200

struct messages {
	uint8_t *data;
	struct digest_job jobs[JOBS], *order[JOBS];
	uint8_t sums[JOBS][DIGEST_LEN];
	size_t count;
};

static uint64_t state = 1;

static uint64_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int make_data(void **ret)
{
	struct messages *messages = xcalloc(1, sizeof(*messages));

	messages->data = xmalloc(DATA_LEN);
	for (size_t i = 0; i < DATA_LEN; i++)
		messages->data[i] = (uint8_t)(random_number() >> 20);
	*ret = messages;
	return 0;
}

static int free_data(void **arg)
{
	struct messages *messages = *arg;

	free(messages->data);
	free(messages);
	return 0;
}

static void add(struct messages *messages, size_t len)
{
	const size_t number = messages->count++;

	messages->jobs[number] = (struct digest_job){.data = messages->data + random_number() % (DATA_LEN - len), .len = len,
	                                                .sha256 = messages->sums[number]};
	messages->order[number] = &messages->jobs[number];
}

static void expect_sums(struct messages *messages)
{
	struct digest *digest = digest_new();
	uint8_t sha256[DIGEST_LEN];

	for (size_t i = 0; i < messages->count; i++) {
		digest_once(digest, messages->jobs[i].data, messages->jobs[i].len, sha256);
		if (memcmp(sha256, messages->sums[i], DIGEST_LEN) != 0)
			fail_msg("message %zu of %zu with %zu bytes", i, messages->count, messages->jobs[i].len);
	}
	digest_free(digest);
	memset(messages->sums, 0, sizeof(messages->sums));
	messages->count = 0;
}

static void expect_lanes(struct messages *messages, enum sha256_lanes lanes)
{
	if (!sha256_lanes_has(lanes))
		skip();
	sha256_lanes(lanes, NULL, 0);
	for (size_t count = 1; count < 40; count++) {
		for (size_t i = 0; i < count; i++)
			add(messages, (count * 7 + i) % 260);
		sha256_lanes(lanes, messages->order, messages->count);
		expect_sums(messages);
	}
	for (size_t i = 0; i < JOBS; i++)
		add(messages, random_number() % 30000);
	sha256_lanes(lanes, messages->order, messages->count);
	expect_sums(messages);
}

static void test_wide_lanes_hash_messages_of_all_lengths(void **arg)
{
	expect_lanes(*arg, SHA256_LANES_WIDE);
}

static void test_pairs_of_messages_of_all_lengths_are_hashed(void **arg)
{
	expect_lanes(*arg, SHA256_LANES_PAIR);
}

/* Beside others, as a pack is hashed while it grows. */
static void test_a_message_in_pieces_has_the_sum_of_the_whole(void **arg)
{
	struct messages *messages = *arg;
	struct digest *digest = digest_new();
	uint8_t whole[DIGEST_LEN], found[DIGEST_LEN];

	if (!digest_takes_pieces(digest)) {
		digest_free(digest);
		skip();
	}
	for (size_t round = 0; round < 300; round++) {
		const size_t len = random_number() % 20000, pieces = random_number() % 5;
		struct digest_begun begun = {0};

		for (size_t i = 0; i <= pieces; i++) {
			const size_t left = len - begun.len;
			struct digest_job piece = {.data = messages->data + begun.len, .begun = &begun};

			piece.len = i == pieces ? left : random_number() % (left + 1) / DIGEST_PIECE * DIGEST_PIECE;
			piece.sha256 = i == pieces ? found : NULL;
			if (piece.len == 0 && !piece.sha256)
				continue;
			for (size_t others = random_number() % 4; others > 0; others--)
				add(messages, random_number() % 5000);
			messages->order[messages->count] = &piece;
			digest_many(digest, messages->order, messages->count + 1);
			expect_sums(messages);
		}
		digest_once(digest, messages->data, len, whole);
		assert_memory_equal(found, whole, DIGEST_LEN);
		assert_int_equal(begun.len, len);
	}
	digest_free(digest);
}

static void test_many_messages_have_the_sums_that_each_has_alone(void **arg)
{
	struct messages *messages = *arg;
	struct digest *digest = digest_new();

	for (size_t round = 0; round < 200; round++) {
		const size_t count = random_number() % 50;
		const uint64_t longest = 1 + random_number() % (round % 10 == 0 ? 300000 : 5000);

		for (size_t i = 0; i < count; i++)
			add(messages, random_number() % longest);
		digest_many(digest, messages->order, messages->count);
		expect_sums(messages);
	}
	digest_free(digest);
}

/* Messages of random parts, of which some are given up, and whose parts are hashed at random moments. */
static void expect_streams(struct messages *messages, struct digest_streams *streams)
{
	for (size_t round = 0; round < 300; round++) {
		const size_t count = random_number() % 20;

		for (size_t i = 0; i < count; i++) {
			const size_t len = random_number() % (round % 10 == 0 ? 100000 : 300);
			struct digest_job *job = &messages->jobs[messages->count];
			size_t done = 0;

			add(messages, len);
			digest_streams_begin(streams, messages->sums[messages->count - 1]);
			while (done < len) {
				const size_t most = 1 + random_number() % 200, part = MIN(most, len - done);

				digest_streams_add(streams, (const uint8_t *)job->data + done, part);
				done += part;
				if (random_number() % 16 == 0)
					digest_streams_run(streams);
			}
			if (random_number() % 4 == 0) {
				digest_streams_drop(streams);
				messages->count--;
			} else {
				digest_streams_end(streams);
			}
		}
		digest_streams_drop(streams);
		digest_streams_run(streams);
		expect_sums(messages);
	}
	digest_streams_free(streams);
}

static void test_messages_in_parts_have_the_sums_of_the_whole(void **arg)
{
	expect_streams(*arg, digest_streams_new());
}

static void test_messages_in_parts_are_hashed_without_lanes_too(void **arg)
{
	struct digest_streams *streams = digest_streams_new();

	digest_streams_use_one(streams);
	expect_streams(*arg, streams);
}

static void test_what_would_keep_one_lane_busy_alone_is_left_out(void **arg)
{
	struct messages *messages = *arg;

	add(messages, 1 << 20);
	add(messages, 1 << 19);
	for (size_t i = 0; i < 64; i++)
		add(messages, 60000);
	assert_int_equal(sha256_lanes_left_out(messages->order, messages->count), 2);
	assert_int_equal(sha256_lanes_left_out(messages->order, 4), 4);
	assert_int_equal(sha256_lanes_left_out(messages->order + 2, 64), 0);
	assert_int_equal(sha256_lanes_left_out(messages->order, 0), 0);
	messages->count = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wide_lanes_hash_messages_of_all_lengths, make_data, free_data),
		cmocka_unit_test_setup_teardown(test_pairs_of_messages_of_all_lengths_are_hashed, make_data, free_data),
		cmocka_unit_test_setup_teardown(test_a_message_in_pieces_has_the_sum_of_the_whole, make_data, free_data),
		cmocka_unit_test_setup_teardown(test_many_messages_have_the_sums_that_each_has_alone, make_data, free_data),
		cmocka_unit_test_setup_teardown(test_messages_in_parts_have_the_sums_of_the_whole, make_data, free_data),
		cmocka_unit_test_setup_teardown(test_messages_in_parts_are_hashed_without_lanes_too, make_data, free_data),
		cmocka_unit_test_setup_teardown(test_what_would_keep_one_lane_busy_alone_is_left_out, make_data, free_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
