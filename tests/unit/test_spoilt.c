/* Files whose extents are damaged, so that what is written to them cannot be committed; and what that does to others. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "lib/tree/content/pending.h"
#include "lib/tree/freeze/freeze.h"
#include "tests/unit/replay_views.h"

/* The first extent of the file is none any more. */
static void spoil(struct tree_store *store, uint64_t ino)
{
	const struct tree_key stem = tree_stem_extent(1, ino, 0);
	struct kv_batch *batch = kv_batch_new();

	version_put(store->view, batch, &stem, 0, "x", 1);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

/* The store is opened anew, with the journal and the budget that the caller has set. */
static struct inode *spoilt_file(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xmalloc(MIB);
	struct inode *inode = new_file(store, "spoilt");
	const uint64_t ino = inode_ino(inode);

	fill_noise(data, MIB, 1);
	assert_int_equal(inode_write(inode, 0, data, MIB, 0), 0);
	assert_int_equal(inode_commit(inode), 0);
	inode_close(inode);
	spoil(store, ino);
	tree_store_close(store);
	tree_store_open(store, false);
	return open_file(store, "spoilt");
}

/* Beside each segment's worth of another file a little is written to one that cannot be committed. All of that is there after a crash. */
static void a_file_that_cannot_be_committed_leaves_room_for_others(void **state)
{
	struct tree_store *store = *state;
	AUTO_FREE uint8_t *data = xcalloc(1, MIB);
	void *memory = shared_memory(MEMORY), *copy = shared_memory(MEMORY);
	const size_t turns = 2 * SEGMENTS;
	struct inode *spoilt, *other;
	struct journal_record **left;
	struct journal *journal;
	uint64_t ino;
	size_t count;

	store->journal = memory;
	store->journal_bytes = MEMORY;
	spoilt = spoilt_file(store);
	ino = inode_ino(spoilt);
	other = new_file(store, "other");
	for (size_t turn = 0; turn < turns; turn++) {
		memset(data, (int)turn, 50);
		assert_int_equal(inode_write(spoilt, 1000, data, 50, WRITE_KEEP), 0);
		for (uint64_t i = 0; i < 8; i++)
			assert_int_equal(inode_write(other, i * MIB, data, MIB, WRITE_KEEP), 0);
		assert_int_equal(inode_commit(other), 0);
	}
	assert_true(inode_commit(spoilt) < 0);
	memcpy(copy, memory, MEMORY);
	assert_int_equal(journal_new(copy, MEMORY, &journal), 0);
	left = journal_left(journal, &count);
	assert_int_equal(count, turns);
	for (size_t i = 0; i < count; i++)
		assert_true(left[i]->ino == ino && left[i]->len == 50 && journal_data(left[i])[0] == i);
	free(left);
	journal_free(journal);
	inode_close(spoilt);
	inode_close(other);
	munmap(copy, MEMORY);
}

#define SMALL_BUDGET (16 * MIB)
#define SHARE (SMALL_BUDGET / 4) /* of one that fails */

/* One part after the other is written to a file that cannot be committed, until that is refused. Other files go on, and what it has can be read. */
static void write_until_refused(struct tree_store *store, size_t len, size_t step)
{
	AUTO_FREE uint8_t *data = xcalloc(1, MIB), *found = xmalloc(MIB);
	uint64_t before, after, inodes;
	struct inode *spoilt, *other;
	size_t count = 0;
	int error, result;
	void *block;

	store->budget = SMALL_BUDGET;
	store->journal_bytes = tree_journal_bytes(SMALL_BUDGET);
	store->journal = shared_memory(store->journal_bytes);
	spoilt = spoilt_file(store);
	other = new_file(store, "other");
	assert_int_equal(inode_write(spoilt, 0, data, 1, WRITE_KEEP), 0);
	error = inode_commit(spoilt);
	assert_true(error < 0 && error != -ENOSPC);
	do {
		memset(data, (int)count, len);
		result = inode_write(spoilt, count * step, data, len, WRITE_KEEP);
		count += result == 0;
	} while (result == 0 && count < SHARE / len);
	assert_int_equal(result, error);
	assert_true(count > 1);
	memset(data, (int)count - 1, len);
	assert_int_equal(inode_read(spoilt, (count - 1) * step, len, found), len);
	assert_memory_equal(found, data, len);
	/* a block is given back when it is refused */
	pending_usage(store->tree, NULL, &before, &inodes);
	assert_int_equal(bulk_block_take(spoilt, &block), 0);
	assert_int_equal(bulk_block_write(spoilt, 0, block, MIB), error);
	pending_usage(store->tree, NULL, &after, &inodes);
	assert_int_equal(after, before);
	for (size_t turn = 0; turn < 4; turn++) {
		for (uint64_t i = 0; i < 8; i++)
			assert_int_equal(inode_write(other, i * MIB, data, MIB, WRITE_KEEP), 0);
		assert_int_equal(inode_commit(other), 0);
	}
	inode_close(spoilt);
	inode_close(other);
}

static void a_file_that_cannot_be_committed_is_not_overwritten_for_ever(void **state)
{
	write_until_refused(*state, MIB, 0);
}

static void a_file_that_cannot_be_committed_does_not_grow_for_ever(void **state)
{
	write_until_refused(*state, 50, 50);
}

static unsigned retry_pause(struct inode *inode)
{
	struct pending *pending = inode_view(inode)->tree->pending;
	unsigned pause_ms;

	mutex_take(&pending->lock);
	pause_ms = inode->retry_pause_ms;
	mutex_give(&pending->lock);
	return pause_ms;
}

/* Others of its group are not. */
static void a_file_that_cannot_be_committed_is_tried_less_and_less_often(void **state)
{
	static const unsigned pauses_ms[] = {1000, 2000, 4000, 8000, 16000, 16000};
	struct tree_store *store = *state;
	struct inode *spoilt = spoilt_file(store), *other = new_file(store, "other");

	assert_int_equal(inode_write(spoilt, 0, "a", 1, 0), 0);
	assert_int_equal(inode_write(other, 0, "a", 1, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pauses_ms); i++) {
		assert_true(view_sync(store->view) < 0);
		assert_int_equal(retry_pause(spoilt), pauses_ms[i]);
		assert_int_equal(retry_pause(other), 0);
	}
	inode_close(spoilt);
	inode_close(other);
}

/* Neither alone, nor in a group. */
static void content_is_not_stored_again_while_the_extents_cannot_be_read(void **state)
{
	AUTO_FREE uint8_t *data = xmalloc(MIB);
	uint64_t bulk, small, bulk_after, small_after;
	struct tree_store *store = *state;
	struct inode *spoilt = spoilt_file(store), *other = new_file(store, "other");

	fill_noise(data, MIB, 2);
	assert_int_equal(inode_write(spoilt, 0, data, MIB, 0), 0);
	assert_true(inode_commit(spoilt) < 0);
	chunks_ends(store->chunks, &bulk, &small);
	assert_true(inode_commit(spoilt) < 0);
	assert_int_equal(inode_write(other, 0, "a", 1, 0), 0);
	assert_true(view_sync(store->view) < 0);
	chunks_ends(store->chunks, &bulk_after, &small_after);
	assert_int_equal(bulk_after, bulk);
	assert_int_equal(small_after, small);
	inode_close(spoilt);
	inode_close(other);
}

/* The view and the tree say which one it is, until it is gone. */
static void a_file_that_cannot_be_committed_is_known(void **state)
{
	struct tree_store *store = *state;
	struct inode *spoilt = spoilt_file(store), *other = new_file(store, "other");
	const uint64_t ino = inode_ino(spoilt);
	struct commit_failure of_view, of_tree;

	assert_int_equal(tree_commit_failure(store->tree, store->view).ino, 0);
	assert_int_equal(inode_write(spoilt, 0, "a", 1, 0), 0);
	assert_int_equal(inode_write(other, 0, "a", 1, 0), 0);
	assert_int_equal(view_sync(store->view), -EIO);
	of_view = tree_commit_failure(store->tree, store->view);
	of_tree = tree_commit_failure(store->tree, NULL);
	assert_true(of_view.ino == ino && of_view.view == 1 && of_view.error == -EIO);
	assert_memory_equal(&of_tree, &of_view, sizeof(of_view));
	inode_close(spoilt);
	inode_close(other);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "spoilt"), 0);
	assert_int_equal(view_sync(store->view), 0);
	assert_int_equal(tree_commit_failure(store->tree, store->view).ino, 0);
	assert_int_equal(tree_commit_failure(store->tree, NULL).ino, 0);
}

static uint64_t failing(struct tree_store *store)
{
	struct tree_usage usage;

	tree_usage(store->tree, &usage);
	return usage.failing_inodes;
}

/* What can be is committed. Nobody who still reads the rest gets zeros for it. */
static void a_file_that_cannot_be_committed_goes_with_its_view(void **state)
{
	struct tree_store *store = *state;
	struct inode *spoilt = spoilt_file(store), *other = new_file(store, "other");
	struct freeze *freeze;
	char byte;

	assert_int_equal(inode_write(spoilt, 2 * MIB, "a", 1, 0), 0);
	assert_int_equal(inode_write(spoilt, 0, "a", 1, 0), 0);
	assert_int_equal(inode_write(other, 0, "b", 1, 0), 0);
	assert_int_equal(freeze_begin_held(&store->view, 1, &freeze), -EIO);
	/* it stays where it is unless the view is retired */
	assert_int_equal(freeze_begin_dropping(store->view, &freeze), 0);
	freeze_end(freeze);
	assert_int_equal(failing(store), 1);
	assert_int_equal(inode_read(spoilt, 2 * MIB, 1, &byte), 1);
	assert_int_equal(byte, 'a');
	assert_int_equal(freeze_begin_dropping(store->view, &freeze), 0);
	freeze_retire(freeze, store->view);
	freeze_end(freeze);
	assert_int_equal(failing(store), 0);
	assert_int_equal(view_dirty_bytes(store->view), 0);
	assert_int_equal(inode_read(spoilt, 2 * MIB, 1, &byte), -ESTALE);
	assert_int_equal(inode_read(other, 0, 1, &byte), 1);
	assert_int_equal(byte, 'b');
	inode_close(spoilt);
	inode_close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(a_file_that_cannot_be_committed_leaves_room_for_others),
		TREE_TEST(a_file_that_cannot_be_committed_is_not_overwritten_for_ever),
		TREE_TEST(a_file_that_cannot_be_committed_does_not_grow_for_ever),
		TREE_TEST(a_file_that_cannot_be_committed_is_tried_less_and_less_often),
		TREE_TEST(content_is_not_stored_again_while_the_extents_cannot_be_read),
		TREE_TEST(a_file_that_cannot_be_committed_is_known),
		TREE_TEST(a_file_that_cannot_be_committed_goes_with_its_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
