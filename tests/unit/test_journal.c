#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/records/quota.h"
#include "tests/unit/replay_views.h"

/* --- the journal itself --- */

static struct journal_record *add(struct journal *journal, uint64_t ino, size_t len)
{
	struct journal_record *record = journal_take(journal, len);

	if (record) {
		record->kind = len ? JOURNAL_WRITE : JOURNAL_TIMES;
		record->ino = ino;
		record->len = len;
		memset(journal_data(record), (int)ino, len);
		journal_count(journal, record);
	}
	return record;
}

static void what_is_left_is_found_in_its_order(void **state)
{
	void *memory = shared_memory(MEMORY);
	struct journal_record *records[50], **left;
	struct journal *journal;
	size_t count;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	for (uint64_t i = 0; i < 50; i++)
		records[i] = add(journal, i, i % 3 ? 1000 * i : 0);
	assert_non_null(journal_take(journal, 100)); /* never counted */
	for (size_t i = 0; i < 50; i += 2)
		journal_forget(journal, records[i]);
	journal_free(journal);
	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	left = journal_left(journal, &count);
	assert_int_equal(count, 25);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(left[i]->ino, 2 * i + 1);
		for (size_t j = 0; j < left[i]->len; j++)
			assert_int_equal(journal_data(left[i])[j], (uint8_t)(2 * i + 1));
	}
	/* the next one is younger than all of them */
	assert_true(add(journal, 99, 10)->number > left[24]->number);
	free(left);
	journal_free(journal);
	munmap(memory, MEMORY);
}

static void room_comes_back_when_records_are_forgotten(void **state)
{
	void *memory = shared_memory(MEMORY);
	struct journal_record *records[64];
	struct journal *journal;
	size_t count = 0;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	while ((records[count] = add(journal, count, JOURNAL_DATA_MAX)))
		count++;
	/* one segment is kept back for what cannot wait */
	assert_true(count >= 7 * (SEGMENTS - 1));
	struct journal_record *note = add(journal, 1, 0);
	assert_non_null(note);
	journal_forget(journal, note);
	for (size_t i = 0; i < count; i++)
		journal_forget(journal, records[i]);
	for (size_t i = 0; i < count - 7; i++)
		assert_non_null(add(journal, i, JOURNAL_DATA_MAX));
	journal_free(journal);
	munmap(memory, MEMORY);
}

static void what_is_no_journal_is_refused(void **state)
{
	uint8_t *memory = shared_memory(MEMORY);
	struct journal *journal;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	assert_non_null(add(journal, 1, 1000));
	journal_free(journal);
	for (size_t segment = 0; segment < SEGMENTS; segment++)
		memset(memory + segment * 8 * MIB + 64, 0xff, 200);
	assert_int_equal(journal_new(memory, MEMORY, &journal), -EBADMSG);
	munmap(memory, MEMORY);
}

/* A small record in each segment keeps all of them; together they keep one. */
static void records_that_stay_are_moved_out_of_the_way(void **state)
{
	void *memory = shared_memory(MEMORY);
	struct journal_record *stay[SEGMENTS], *go[8 * SEGMENTS], **left;
	struct journal *journal;
	size_t stays = 0, goes = 0, count;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	while ((go[goes] = add(journal, 1, JOURNAL_DATA_MAX - 4096))) {
		if (goes++ % 8 == 0) {
			stay[stays] = add(journal, 2 + stays, 50);
			assert_non_null(stay[stays++]);
		}
	}
	assert_int_equal(stays, SEGMENTS - 1);
	for (size_t i = 0; i < goes; i++)
		journal_forget(journal, go[i]);
	assert_null(add(journal, 1, 3 * JOURNAL_DATA_MAX));
	for (size_t i = 0; i < stays; i++) {
		stay[i] = journal_move_apart(journal, stay[i]);
		/* it is there already */
		assert_ptr_equal(journal_move_apart(journal, stay[i]), stay[i]);
	}
	for (size_t i = 0; i < 8 * (SEGMENTS - 2); i++)
		assert_non_null(add(journal, 100, JOURNAL_DATA_MAX - 4096));
	journal_free(journal);
	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	left = journal_left(journal, &count);
	assert_int_equal(count, stays + 8 * (SEGMENTS - 2));
	for (size_t i = 0; i < stays; i++) {
		assert_int_equal(left[i]->ino, 2 + i);
		assert_int_equal(left[i]->len, 50);
		for (size_t j = 0; j < 50; j++)
			assert_int_equal(journal_data(left[i])[j], 2 + i);
	}
	free(left);
	journal_free(journal);
	munmap(memory, MEMORY);
}

/* --- what is never committed --- */

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

/* --- a replay --- */

static void what_is_not_there_any_more_is_dropped(void **state)
{
	struct tree_store *store = *state;
	const struct replay_views views = {.find = find, .put = put, .arg = store};
	void *memory = shared_memory(MEMORY);
	struct journal *journal;
	struct journal_record *record;
	struct replayed replayed;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	record = add(journal, 4711, 100);
	record->view = 1;
	record = add(journal, 2, 100);
	record->view = 9;
	journal_free(journal);
	tree_store_close(store);
	store->journal = memory;
	store->journal_bytes = MEMORY;
	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(replayed.dropped, 2);
	assert_int_equal(replayed.records, 0);
}

/* Here of a directory, which has no content. The others come back, and the files that are named are those that lost something. */
static void what_cannot_be_replayed_does_not_keep_the_others(void **state)
{
	struct tree_store *store = *state;
	const struct replay_views views = {.find = find, .put = put, .arg = store};
	void *memory = shared_memory(MEMORY);
	const uint64_t inos[] = {0, ROOT_INO, 0, ROOT_INO};
	struct journal *journal;
	struct replayed replayed;
	struct inode *inode = new_file(store, "file");
	uint8_t out[200];
	size_t count;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	for (size_t i = 0; i < ARRAY_SIZE(inos); i++) {
		struct journal_record *record = journal_take(journal, 100);
		record->kind = JOURNAL_WRITE;
		record->view = 1;
		record->ino = inos[i] ? inos[i] : inode_ino(inode);
		record->offset = i ? 100 : 0;
		record->len = 100;
		record->atime = record->mtime = record->ctime = (struct timespec){.tv_sec = 1};
		memset(journal_data(record), 'a' + (int)i, 100);
		journal_count(journal, record);
	}
	journal_free(journal);
	inode_close(inode);
	tree_store_close(store);
	store->journal = memory;
	store->journal_bytes = MEMORY;
	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(replayed.records, 2);
	assert_int_equal(replayed.lost.count, 1);
	assert_int_equal(replayed.lost.items[0].ino, ROOT_INO);
	assert_int_equal(replayed.lost.items[0].records, 2);
	assert_int_equal(replayed.lost.items[0].error, -EBADMSG);
	replayed_clear(&replayed);
	inode = open_file(store, "file");
	assert_int_equal(inode_read(inode, 0, sizeof(out), out), 200);
	assert_true(out[0] == 'a' && out[99] == 'a' && out[100] == 'c' && out[199] == 'c');
	assert_int_equal(inode_sync(inode), 0);
	inode->lost = true;
	assert_int_equal(inode_sync(inode), -EIO);
	assert_int_equal(inode_sync(inode), -EIO);
	inode_close(inode);
	/* what was given up does not come again */
	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	free(journal_left(journal, &count));
	assert_int_equal(count, 0);
	journal_free(journal);
}

/* Otherwise as much again would be accepted after each crash. */
static void what_is_buffered_again_counts_for_the_quota(void **state)
{
	struct tree_store *store = *state;
	const struct replay_views views = {.find = find, .put = put, .arg = store};
	AUTO_FREE uint8_t *data = xcalloc(1, MIB);
	void *memory = shared_memory(MEMORY);
	struct inode *inode = new_file(store, "file");
	struct journal_record *record;
	struct replayed replayed;
	struct journal *journal;
	uint64_t limit, used;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	record = add(journal, inode_ino(inode), MIB);
	record->view = 1;
	journal_free(journal);
	inode_close(inode);
	tree_store_close(store);
	store->journal = memory;
	store->journal_bytes = MEMORY;
	tree_store_open(store, false);
	quota_set(store->view, MIB + MIB / 2);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(replayed.bytes, MIB);
	inode = open_file(store, "file");
	assert_int_equal(inode_write(inode, MIB, data, MIB, WRITE_KEEP), -EDQUOT);
	assert_int_equal(inode_write(inode, 0, data, MIB, WRITE_KEEP), 0);
	assert_int_equal(inode_commit(inode), 0);
	assert_int_equal(quota_usage(store->view, &limit, &used), 0);
	assert_int_equal(used, MIB);
	inode_close(inode);
}

struct late_views {
	struct tree_store *store;
	unsigned left; /* records, before one that comes late */
};

static int find_late(void *arg, uint32_t number, struct view **ret_view)
{
	struct late_views *views = arg;

	if (views->left-- == 0)
		clock_pause_us(300000);
	return find(views->store, number, ret_view);
}

/* A big file is committed at once, but not between a write and the hole that was punched into it. */
static void nothing_is_committed_between_two_records(void **state)
{
	struct tree_store *store = *state;
	struct late_views late = {.store = store, .left = 20};
	const struct replay_views views = {.find = find_late, .put = put, .arg = &late};
	AUTO_FREE uint8_t *found = xmalloc(MIB), *zeros = xcalloc(1, MIB);
	void *memory = shared_memory(MEMORY);
	struct journal_record *record;
	struct replayed replayed;
	struct journal *journal;
	struct inode *inode = new_file(store, "file");
	const uint64_t ino = inode_ino(inode);

	inode_close(inode);
	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	for (uint64_t i = 0; i <= late.left; i++) {
		record = add(journal, ino, i < late.left ? MIB : 0);
		record->view = 1;
		record->offset = i < late.left ? i * MIB : 0;
	}
	record->kind = JOURNAL_DISCARD;
	record->len = 20 * MIB;
	journal_free(journal);
	tree_store_close(store);
	store->journal = memory;
	store->journal_bytes = MEMORY;
	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(replayed.records, 21);
	inode = open_file(store, "file");
	assert_int_equal(inode_commit(inode), 0);
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(inode_read(inode, i * MIB, MIB, found), MIB);
		assert_memory_equal(found, zeros, MIB);
	}
	inode_close(inode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_left_is_found_in_its_order),
		cmocka_unit_test(room_comes_back_when_records_are_forgotten),
		cmocka_unit_test(what_is_no_journal_is_refused),
		cmocka_unit_test(records_that_stay_are_moved_out_of_the_way),
		TREE_TEST(a_file_that_cannot_be_committed_leaves_room_for_others),
		TREE_TEST(a_file_that_cannot_be_committed_is_not_overwritten_for_ever),
		TREE_TEST(a_file_that_cannot_be_committed_does_not_grow_for_ever),
		TREE_TEST(a_file_that_cannot_be_committed_is_tried_less_and_less_often),
		TREE_TEST(content_is_not_stored_again_while_the_extents_cannot_be_read),
		TREE_TEST(what_is_not_there_any_more_is_dropped),
		TREE_TEST(what_cannot_be_replayed_does_not_keep_the_others),
		TREE_TEST(what_is_buffered_again_counts_for_the_quota),
		TREE_TEST(nothing_is_committed_between_two_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
