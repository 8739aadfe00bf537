#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/tree/inodes/dirty.h"

#define SPACE 6000

/* The model: a byte and whether it is buffered. */
struct model {
	uint8_t bytes[SPACE];
	bool there[SPACE];
};

static uint64_t model_count(const struct model *model)
{
	uint64_t count = 0;

	for (size_t i = 0; i < SPACE; i++)
		count += model->there[i];
	return count;
}

static void assert_same(const struct dirty *dirty, const struct model *model)
{
	uint8_t out[SPACE], expected[SPACE];

	memset(out, 0xee, SPACE);
	dirty_overlay(dirty, 0, SPACE, out);
	for (size_t i = 0; i < SPACE; i++)
		expected[i] = model->there[i] ? model->bytes[i] : 0xee;
	assert_memory_equal(out, expected, SPACE);
	assert_int_equal(dirty->bytes, model_count(model));
	for (size_t i = 1; i < dirty->segments.count; i++)
		assert_true(dirty->segments.items[i - 1].offset + dirty->segments.items[i - 1].len <= dirty->segments.items[i].offset);
}

static void random_change(struct dirty *dirty, struct model *model)
{
	size_t offset = (size_t)rand() % SPACE, len = 1 + (size_t)rand() % (rand() % 4 ? 64 : SPACE);
	uint8_t data[SPACE];

	len = MIN(len, SPACE - offset);
	if (rand() % 3) {
		uint64_t before = dirty->bytes;
		int64_t grown;

		for (size_t i = 0; i < len; i++)
			data[i] = model->bytes[offset + i] = (uint8_t)rand();
		memset(model->there + offset, true, len);
		grown = dirty_write(dirty, offset, data, len);
		assert_int_equal(grown, (int64_t)(dirty->bytes - before));
		assert_true(dirty_covers(dirty, offset, len));
	} else {
		dirty_discard(dirty, offset, offset + len);
		memset(model->there + offset, false, len);
		assert_false(dirty_overlaps(dirty, offset, len));
	}
}

static void test_random_changes_as_a_plain_array(void **state)
{
	struct dirty dirty = { 0 };
	struct model *model = xcalloc(1, sizeof(*model));

	srand(1);
	for (int i = 0; i < 5000; i++) {
		random_change(&dirty, model);
		if (i % 20 == 0)
			assert_same(&dirty, model);
	}
	dirty_clear(&dirty);
	assert_int_equal(dirty.bytes, 0);
	free(model);
}

static void test_merge_below_keeps_the_newer_bytes(void **state)
{
	struct model *upper = xcalloc(1, sizeof(*upper)), *lower = xcalloc(1, sizeof(*lower));

	srand(2);
	for (int round = 0; round < 50; round++) {
		struct dirty above = { 0 }, below = { 0 };

		memset(upper, 0, sizeof(*upper));
		memset(lower, 0, sizeof(*lower));
		for (int i = 0; i < 20; i++) {
			random_change(&above, upper);
			random_change(&below, lower);
		}
		dirty_merge_below(&above, &below);
		for (size_t i = 0; i < SPACE; i++) {
			if (!upper->there[i]) {
				upper->bytes[i] = lower->bytes[i];
				upper->there[i] = lower->there[i];
			}
		}
		assert_same(&above, upper);
		assert_int_equal(below.bytes, 0);
		dirty_clear(&above);
	}
	free(upper);
	free(lower);
}

static void test_appending_fills_big_segments_and_reuses_their_blocks(void **state)
{
	struct block_pool *pool = block_pool_new(4 * DIRTY_SEGMENT_MAX);
	struct dirty dirty = { .pool = pool };
	static uint8_t data[65536];
	uint8_t *first;

	for (uint64_t at = 0; at < 3 * DIRTY_SEGMENT_MAX; at += sizeof(data)) {
		memset(data, (int)(at >> 16), sizeof(data));
		assert_int_equal(dirty_write(&dirty, at, data, sizeof(data)), sizeof(data));
	}
	assert_int_equal(dirty.segments.count, 3);
	first = dirty.segments.items[2].data;
	assert_int_equal(first[DIRTY_SEGMENT_MAX - 1], (3 * DIRTY_SEGMENT_MAX - 1) >> 16 & 0xff);
	dirty_clear(&dirty);
	assert_ptr_equal(dirty.pool, pool);
	for (uint64_t at = 0; at < 2 * MIN(DIRTY_SEGMENT_MAX, 1U << 20); at += sizeof(data))
		assert_int_equal(dirty_write(&dirty, at, data, sizeof(data)), sizeof(data));
	assert_ptr_equal(dirty.segments.items[0].data, first);
	dirty_clear(&dirty);
	block_pool_free(pool);
}

static void test_a_write_longer_than_a_segment(void **state)
{
	size_t len = 2 * DIRTY_SEGMENT_MAX + 12345;
	uint8_t *data = xmalloc(len), *out = xcalloc(1, len);
	struct dirty dirty = { 0 };

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 >> 3);
	assert_int_equal(dirty_write(&dirty, 1000, data, len), (int64_t)len);
	assert_int_equal(dirty_write(&dirty, 1000, data, len), 0);
	dirty_overlay(&dirty, 1000, len, out);
	assert_memory_equal(out, data, len);
	assert_int_equal(dirty_discard(&dirty, 0, UINT64_MAX), len);
	dirty_clear(&dirty);
	free(data);
	free(out);
}

static void test_writes_out_of_order_become_one_segment(void **state)
{
	struct block_pool *pool = block_pool_new(4 * DIRTY_SEGMENT_MAX);
	struct dirty dirty = { .pool = pool };
	const size_t len = 1U << 20;
	uint8_t *data = xmalloc(len), *out = xmalloc(DIRTY_SEGMENT_MAX);

	for (size_t i = 0; i < DIRTY_SEGMENT_MAX / len; i++) {
		size_t number = i ^ 1;

		memset(data, (int)number, len);
		assert_int_equal(dirty_write(&dirty, number * len, data, len), (int64_t)len);
	}
	assert_true(dirty.segments.count <= 2);
	assert_int_equal(dirty.bytes, DIRTY_SEGMENT_MAX);
	dirty_overlay(&dirty, 0, DIRTY_SEGMENT_MAX, out);
	for (size_t i = 0; i < DIRTY_SEGMENT_MAX; i += 4096)
		assert_int_equal(out[i], i / len);
	dirty_clear(&dirty);
	block_pool_free(pool);
	free(data);
	free(out);
}

static void test_blocks_become_segments_or_are_copied_over_what_is_there(void **state)
{
	struct block_pool *pool = block_pool_new(4 * DIRTY_SEGMENT_MAX);
	struct dirty dirty = { .pool = pool };
	uint8_t *first = block_take(pool), *second, out[300];

	memset(first, 1, 200);
	assert_int_equal(dirty_write_block(&dirty, 1000, first, 200), 200);
	assert_ptr_equal(dirty.segments.items[0].data, first);
	second = block_take(pool);
	memset(second, 2, 200);
	assert_int_equal(dirty_write_block(&dirty, 1100, second, 200), 100);
	assert_ptr_equal(block_take(pool), second);
	block_give(pool, second);
	assert_int_equal(dirty.bytes, 300);
	dirty_overlay(&dirty, 1000, 300, out);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(out[i], i < 100 ? 1 : 2);
	dirty_clear(&dirty);
	block_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes_as_a_plain_array),
		cmocka_unit_test(test_merge_below_keeps_the_newer_bytes),
		cmocka_unit_test(test_appending_fills_big_segments_and_reuses_their_blocks),
		cmocka_unit_test(test_a_write_longer_than_a_segment),
		cmocka_unit_test(test_writes_out_of_order_become_one_segment),
		cmocka_unit_test(test_blocks_become_segments_or_are_copied_over_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
