/* What a tree keeps in memory although nobody uses it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/tree/content/tree.h"
#include "tests/unit/memory.h"
#include "tests/unit/tree_store.h"

#define FILES 64
#define CONTENT 2000 /* bytes that stand in the inode */
#define BLOCKS 12
#define SMALL (700U << 10) /* less than a block, three more than one small segment */

static void content_of_unused_inodes_is_within_the_budget(void **state)
{
	struct tree_store *store = *state;
	struct tree_usage usage;
	uint8_t content[CONTENT], got[CONTENT];

	for (unsigned i = 0; i < FILES; i++) {
		AUTO_FREE char *name = xasprintf("%u", i);
		struct inode *inode = new_file(store, name);

		fill_noise(content, CONTENT, i);
		assert_int_equal(inode_write(inode, 0, content, CONTENT, 0), 0);
		inode_close(inode);
	}
	assert_int_equal(view_sync(store->view), 0);
	for (unsigned i = 0; i < FILES; i++) {
		AUTO_FREE char *name = xasprintf("%u", i);
		struct inode *inode = open_file(store, name);

		fill_noise(content, CONTENT, i);
		assert_int_equal(inode_read(inode, 0, CONTENT, got), CONTENT);
		assert_memory_equal(got, content, CONTENT);
		inode_close(inode);
	}
	tree_usage(store->tree, &usage);
	assert_true(usage.cached_inodes > 0);
	assert_true(usage.cached_inodes < 16); /* as many as without content */
	assert_true(usage.inode_bytes > usage.cached_inodes * CONTENT);
	assert_true(usage.inode_bytes <= usage.inode_budget);
	assert_true(usage.inode_bytes < 16 * 1024 + 2 * sizeof(struct inode)); /* the root, too */
}

static void idle_blocks_are_given_back(void **state)
{
	struct block_pool *pool = block_pool_new(BLOCKS * DIRTY_SEGMENT_MAX);
	void *blocks[BLOCKS];

	const size_t before = memory_begin();
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = block_take(pool);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, DIRTY_SEGMENT_MAX);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		block_give(pool, blocks[i]);
	/* they were needed since the last time */
	block_pool_give_back(pool);
	assert_int_equal(block_pool_idle_bytes(pool), BLOCKS * DIRTY_SEGMENT_MAX);
	/* of these only two */
	blocks[0] = block_take(pool);
	blocks[1] = block_take(pool);
	block_give(pool, blocks[0]);
	block_give(pool, blocks[1]);
	block_pool_give_back(pool);
	assert_int_equal(block_pool_idle_bytes(pool), 2 * DIRTY_SEGMENT_MAX);
	block_pool_give_back(pool);
	assert_int_equal(block_pool_idle_bytes(pool), 0);
	(void)memory_begin();
	memory_end(before, 2 * DIRTY_SEGMENT_MAX);
	block_pool_free(pool);
}

/* What lay idle after large files, and small files that come next, which have their own memory. */
static void idle_blocks_yield_to_what_is_buffered(void **state)
{
	struct tree_store *store = *state;
	static uint8_t content[DIRTY_SEGMENT_MAX];
	struct tree_usage usage;
	struct inode *inode = new_file(store, "large");

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(inode_write(inode, i * sizeof(content), content, sizeof(content), 0), 0);
	assert_int_equal(view_sync(store->view), 0);
	inode_close(inode);
	tree_usage(store->tree, &usage);
	assert_true(usage.buffer_bytes >= DIRTY_SEGMENT_MAX);
	for (unsigned i = 0; i < 4 * FILES; i++) {
		AUTO_FREE char *name = xasprintf("small-%u", i);

		inode = new_file(store, name);
		assert_int_equal(inode_write(inode, 0, content, SMALL, 0), 0);
		inode_close(inode);
		tree_usage(store->tree, &usage);
		assert_true(usage.buffer_bytes <= usage.buffer_budget);
	}
}

static void blocks_that_are_filled_a_little_are_few(void **state)
{
	struct block_pool *pool = block_pool_new(BLOCKS * DIRTY_SEGMENT_MAX);
	struct dirty files[2 * BLOCKS] = { 0 };
	uint8_t *content = xmalloc(3 * SMALL), *got = xmalloc(3 * SMALL);
	unsigned blocks = 0;

	for (unsigned i = 0; i < 2 * BLOCKS; i++) {
		fill_noise(content, 3 * SMALL, i);
		files[i].pool = pool;
		for (unsigned part = 0; part < 3; part++)
			assert_int_equal(dirty_write(&files[i], part * SMALL, content + part * SMALL, SMALL), SMALL);
		for (size_t j = 0; j < files[i].segments.count; j++)
			blocks += files[i].segments.items[j].cap == DIRTY_SEGMENT_MAX;
	}
	assert_int_equal(blocks, BLOCKS);
	for (unsigned i = 0; i < 2 * BLOCKS; i++) {
		fill_noise(content, 3 * SMALL, i);
		dirty_overlay(&files[i], 0, 3 * SMALL, got);
		assert_memory_equal(got, content, 3 * SMALL);
		dirty_clear(&files[i]);
	}
	free(content);
	free(got);
	block_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(content_of_unused_inodes_is_within_the_budget),
		cmocka_unit_test(idle_blocks_are_given_back),
		TREE_TEST(idle_blocks_yield_to_what_is_buffered),
		cmocka_unit_test(blocks_that_are_filled_a_little_are_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
