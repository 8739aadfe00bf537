#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "lib/base/clock.h"
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
	/* one segment is kept back for what cannot wait, and one for moves */
	assert_true(count >= 7 * (SEGMENTS - 2));
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
	assert_int_equal(stays, SEGMENTS - 2);
	for (size_t i = 0; i < goes; i++)
		journal_forget(journal, go[i]);
	assert_null(add(journal, 1, 3 * JOURNAL_DATA_MAX));
	for (size_t i = 0; i < stays; i++) {
		stay[i] = journal_move_apart(journal, stay[i]);
		/* it is there already */
		assert_ptr_equal(journal_move_apart(journal, stay[i]), stay[i]);
	}
	for (size_t i = 0; i < 8 * (SEGMENTS - 3); i++)
		assert_non_null(add(journal, 100, JOURNAL_DATA_MAX - 4096));
	journal_free(journal);
	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	left = journal_left(journal, &count);
	assert_int_equal(count, stays + 8 * (SEGMENTS - 3));
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

/* Of each segment a record stays, so that none becomes free. */
static void moves_leave_room_for_what_cannot_wait(void **state)
{
	void *memory = shared_memory(MEMORY);
	struct journal_record *records[8 * SEGMENTS];
	struct journal *journal;
	size_t count = 0, moved = 0;

	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	while ((records[count] = add(journal, count, JOURNAL_DATA_MAX)))
		count++;
	for (size_t i = 0; i < count; i++)
		if (i % 7 != 0)
			moved += journal_move_apart(journal, records[i]) != records[i];
	assert_int_equal(moved, 7);
	assert_non_null(add(journal, 1, 0));
	journal_free(journal);
	munmap(memory, MEMORY);
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
		cmocka_unit_test(moves_leave_room_for_what_cannot_wait),
		TREE_TEST(what_is_not_there_any_more_is_dropped),
		TREE_TEST(what_cannot_be_replayed_does_not_keep_the_others),
		TREE_TEST(what_is_buffered_again_counts_for_the_quota),
		TREE_TEST(nothing_is_committed_between_two_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
