#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "lib/tree/records/extent.h"
#include "tests/unit/pieces.h"

#define MANY 4000 /* pieces: more than go into a step */

/* --- holes --- */

static void lose_extent(struct tree_store *store, struct inode *inode, uint64_t before)
{
	struct kv_batch *batch = kv_batch_new();
	struct extent extent;
	struct tree_key key;

	assert_int_equal(extents_before(store->view, inode_ino(inode), before, &extent), 0);
	key = tree_key_at(tree_stem_extent(1, inode_ino(inode), extent.offset), extent.epoch);
	kv_batch_delete(batch, KV_TREE, key.bytes, key.len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

/* 400 MiB: beyond what was counted once. */
static void a_lost_extent_of_a_long_sparse_file_is_an_error_and_not_zeros(void **state)
{
	struct inode *inode = make_pieces(*state, 400), *target = new_file(*state, "target");
	uint8_t bytes[PIECE];
	uint64_t found;

	lose_extent(*state, inode, 10 * STRIDE + 1);
	assert_int_equal(inode_read(inode, 10 * STRIDE, PIECE, bytes), -EIO);
	assert_int_equal(inode_read(inode, 20 * STRIDE + PIECE, PIECE, bytes), -EIO);
	assert_true(has_piece(inode, 20));
	assert_int_equal(inode_seek(inode, 9 * STRIDE, SEEK_HOLE, &found), -EIO);
	assert_int_equal(inode_seek(inode, 9 * STRIDE + 500, SEEK_DATA, &found), -EIO);
	assert_int_equal(inode_copy(inode, 0, target, 0, FAR), -EIO);
	assert_int_equal(view_check_holes(inode_view(inode), inode_ino(inode)), -EIO);
	/* without what was lost the rest is as it should be */
	assert_int_equal(resize(inode, 0), 0);
	assert_int_equal(resize(inode, STRIDE), 0);
	inode_close(inode);
	inode_close(target);
}

static void holes_of_a_long_sparse_file_are_read(void **state)
{
	struct inode *inode = make_pieces(*state, 400);
	uint8_t bytes[PIECE], zeros[PIECE] = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(inode_read(inode, 10 * STRIDE + PIECE, PIECE, bytes), PIECE);
		assert_memory_equal(bytes, zeros, PIECE);
		assert_int_equal(inode_write(inode, (10 + i) * STRIDE + 5000, "x", 1, 0), 0);
		assert_int_equal(inode_commit(inode), 0);
	}
	inode_close(inode);
}

/* --- seeking --- */

static uint64_t seek(struct inode *inode, uint64_t offset, int whence)
{
	uint64_t found = UINT64_MAX;
	int result = inode_seek(inode, offset, whence, &found);

	return result == -ENXIO ? UINT64_MAX : found;
}

/* Whatever is committed with what: inline or not, in one go or one by one. */
static void a_short_gap_is_data_wherever_it_is(void **state)
{
	struct tree_store *store = *state;
	uint8_t data[10010] = { 1 };

	for (unsigned i = 0; i < 4; i++) {
		AUTO_FREE char *name = xasprintf("f%u", i);
		struct inode *inode = new_file(store, name);
		uint64_t base = i % 2 ? 10000 : 0;

		assert_int_equal(inode_write(inode, 0, data, base + 10, 0), 0);
		if (i / 2)
			assert_int_equal(inode_commit(inode), 0);
		assert_int_equal(inode_write(inode, base + 500, data, 10, 0), 0);
		if (i / 2)
			assert_int_equal(inode_commit(inode), 0);
		assert_int_equal(resize(inode, base + 1000), 0);
		assert_int_equal(seek(inode, 0, SEEK_HOLE), base + 1000);
		assert_int_equal(seek(inode, base + 100, SEEK_DATA), base + 100);
		assert_int_equal(seek(inode, base + 999, SEEK_DATA), base + 999);
		/* a long one is a hole */
		assert_int_equal(resize(inode, base + 10000), 0);
		assert_int_equal(seek(inode, 0, SEEK_HOLE), seek(inode, base + 510, SEEK_HOLE));
		/* of whole blocks */
		assert_int_equal(seek(inode, 0, SEEK_HOLE), hole_first(base + 510));
		assert_int_equal(seek(inode, base + 5000, SEEK_HOLE), base + 5000);
		assert_int_equal(seek(inode, base + 5000, SEEK_DATA), UINT64_MAX);
		assert_int_equal(inode_write(inode, base + 9000, data, 10, 0), 0);
		assert_int_equal(seek(inode, base + 5000, SEEK_DATA), hole_last(base + 9000));
		assert_int_equal(seek(inode, base + 9000, SEEK_HOLE), base + 10000);
		inode_close(inode);
	}
}

static void seeking_follows_extents(void **state)
{
	struct inode *inode = make_pieces(*state, MANY);

	assert_int_equal(resize(inode, FAR), 0);
	/* zeros that are allocated are no data */
	assert_int_equal(inode_allocate(inode, 0, 0, 10 * STRIDE), 0);
	assert_int_equal(seek(inode, 0, SEEK_HOLE), HOLE_BLOCK);
	assert_int_equal(seek(inode, PIECE, SEEK_HOLE), HOLE_BLOCK);
	assert_int_equal(seek(inode, PIECE, SEEK_DATA), PIECE);
	assert_int_equal(seek(inode, HOLE_BLOCK, SEEK_DATA), STRIDE);
	assert_int_equal(seek(inode, STRIDE - 1, SEEK_HOLE), STRIDE - 1);
	assert_int_equal(seek(inode, (MANY - 1) * STRIDE + HOLE_BLOCK, SEEK_DATA), UINT64_MAX);
	assert_int_equal(seek(inode, FAR - 1, SEEK_HOLE), FAR - 1);
	inode_close(inode);
}

static uint64_t next_random(uint64_t *random)
{
	*random = *random * 6364136223846793005U + 1442695040888963407U;
	return *random >> 33;
}

static bool any_in(const uint8_t *has, uint64_t first, uint64_t end)
{
	return memchr(has + first, 1, end - first) != NULL;
}

/* Wherever data begins and ends: holes are whole blocks, none has data in it, and a block of a hole is told of from any place in it. */
static void holes_are_whole_blocks(void **state)
{
	enum { SIZE = 50 * HOLE_BLOCK + 700 };
	static uint8_t has[SIZE];
	uint64_t random = 5, blocks = 0;

	for (unsigned round = 0; round < 40; round++) {
		AUTO_FREE char *name = xasprintf("f%u", round);
		struct inode *inode = new_file(*state, name);

		memset(has, 0, sizeof(has));
		for (unsigned i = 0; i < 1 + round % 7; i++) {
			size_t len = 1 + next_random(&random) % 9000, at = next_random(&random) % (SIZE - len);

			if (round % 3 == 2)
				assert_int_equal(inode_allocate(inode, 0, at / 2, len), 0);
			memset(has + at, 1, len);
			assert_int_equal(inode_write(inode, at, has + at, len, 0), 0);
			assert_int_equal(inode_commit(inode), 0);
		}
		assert_int_equal(resize(inode, SIZE), 0);
		for (uint64_t at = 0; at < SIZE; at += 1 + next_random(&random) % 3000) {
			uint64_t hole = seek(inode, at, SEEK_HOLE), data = MIN(seek(inode, at, SEEK_DATA), SIZE);

			assert_true(hole == at || hole % HOLE_BLOCK == 0 || hole == SIZE);
			assert_true(data == at || data % HOLE_BLOCK == 0 || data == SIZE);
			assert_true((hole == at) != (data == at));
			assert_false(any_in(has, at, data));
			blocks += data / HOLE_BLOCK - at / HOLE_BLOCK;
		}
		inode_close(inode);
	}
	assert_true(blocks > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(a_lost_extent_of_a_long_sparse_file_is_an_error_and_not_zeros),
		TREE_TEST(holes_of_a_long_sparse_file_are_read),
		TREE_TEST(a_short_gap_is_data_wherever_it_is),
		TREE_TEST(seeking_follows_extents),
		TREE_TEST(holes_are_whole_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
