/* Writers who wait, for room or for a freeze, and what others' failures and freezes do to them; syncs that meet what others drop. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>

#include "lib/base/clock.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/content/tree.h"
#include "lib/tree/freeze/freeze.h"
#include "lib/tree/records/quota.h"
#include "tests/unit/tree_store.h"

#define BUDGET (4 * MIB)
#define LARGE_BUDGET (16 * MIB) /* has room for a block */
#define LEN 200000U
#define A_WHILE_MS 200 /* for a thread to come to where it is to wait; should it take longer, the test finds less, and does not fail */

struct writing {
	pthread_t thread;
	struct inode *inode;
	void *block; /* or NULL: bytes */
	size_t len;
	int result;
};

static void *write_main(void *arg)
{
	struct writing *writing = arg;
	AUTO_FREE uint8_t *data = xmalloc(writing->len);

	fill_noise(data, writing->len, writing->len);
	if (writing->block)
		memcpy(writing->block, data, writing->len);
	writing->result = writing->block ? bulk_block_write(writing->inode, 0, writing->block, writing->len)
	                                 : inode_write(writing->inode, 0, data, writing->len, 0);
	return NULL;
}

static void begin_writing(struct writing *writing)
{
	if (pthread_create(&writing->thread, NULL, write_main, writing) != 0)
		abort();
}

static int end_writing(struct writing *writing)
{
	pthread_join(writing->thread, NULL);
	return writing->result;
}

static bool has_all(struct inode *inode, size_t len)
{
	AUTO_FREE uint8_t *wanted = xmalloc(len), *found = xmalloc(len);

	fill_noise(wanted, len, len);
	return inode_read(inode, 0, len, found) == (ssize_t)len && memcmp(found, wanted, len) == 0;
}

static void wait_until_somebody_waits_for_room(struct tree *tree)
{
	bool waits;

	do {
		clock_pause_us(1000);
		mutex_take(&tree->pending->lock);
		waits = tree->pending->waiting > 0;
		mutex_give(&tree->pending->lock);
	} while (!waits);
}

static uint64_t buffered(struct tree_store *store)
{
	uint64_t bytes, inodes;

	pending_usage(store->tree, NULL, &bytes, &inodes);
	return bytes;
}

static int large_setup(void **state)
{
	struct tree_store *store = xcalloc(1, sizeof(*store));

	store->budget = LARGE_BUDGET;
	tree_store_make(store);
	*state = store;
	return 0;
}

#define WAITING_TEST(function) cmocka_unit_test_setup_teardown(function, large_setup, tree_teardown)

/* --- heads that are locked and retired --- */

static void test_a_writer_who_waited_for_room_is_refused_by_a_head_that_was_locked(void **state)
{
	struct tree_store *store = *state;
	struct writing writing = {.inode = new_file(store, "f"), .len = LEN};
	struct freeze *freeze;

	assert_int_equal(bulk_reserve(store->view, LARGE_BUDGET), 0);
	begin_writing(&writing);
	wait_until_somebody_waits_for_room(store->tree);
	assert_int_equal(freeze_begin_held(&store->view, 1, &freeze), 0);
	view_set_locked(store->view, true);
	freeze_end(freeze);
	bulk_release(store->view, LARGE_BUDGET);
	assert_int_equal(end_writing(&writing), -EROFS);
	assert_int_equal(buffered(store), 0);
	assert_int_equal(tree_sync(store->tree), 0);
	inode_close(writing.inode);
}

/* Whoever locks or retires a head has it frozen first: what is written meanwhile is not accepted, for it could not be committed. */
static void write_while_frozen(struct tree_store *store, void (*end)(struct freeze *freeze, struct view *view), int wanted)
{
	struct writing bytes = {.inode = new_file(store, "bytes"), .len = LEN}, block = {.inode = new_file(store, "block"), .len = LEN};
	struct freeze *freeze;

	assert_int_equal(bulk_block_take(block.inode, &block.block), 0);
	assert_int_equal(freeze_begin_held(&store->view, 1, &freeze), 0);
	begin_writing(&bytes);
	begin_writing(&block);
	clock_pause_us(A_WHILE_MS * 1000);
	end(freeze, store->view);
	freeze_end(freeze);
	assert_int_equal(end_writing(&bytes), wanted);
	assert_int_equal(end_writing(&block), wanted);
	assert_int_equal(tree_sync(store->tree), 0);
	assert_int_equal(buffered(store), 0);
	inode_close(bytes.inode);
	inode_close(block.inode);
}

static void lock_it(struct freeze *freeze, struct view *view)
{
	view_set_locked(view, true);
}

static void test_nothing_is_accepted_while_a_head_is_locked(void **state)
{
	write_while_frozen(*state, lock_it, -EROFS);
}

static void test_nothing_is_accepted_while_a_head_is_retired(void **state)
{
	write_while_frozen(*state, freeze_retire, -ESTALE);
}

static void leave_it(struct freeze *freeze, struct view *view)
{
}

static void test_writers_go_on_when_the_head_stays(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode;

	write_while_frozen(store, leave_it, 0);
	inode = open_file(store, "block");
	assert_true(has_all(inode, LEN));
	inode_close(inode);
}

/* --- of two datasets --- */

static struct view *second_dataset(struct tree_store *store)
{
	struct interval interval = {1, 1};
	struct line line = {&interval, 1}, none = {0};
	const struct view_options options = {.dataset = 2, .family = 2, .view = 2, .epoch = 1, .level = 1, .line = &line, .shared = &none};
	struct kv_batch *batch = kv_batch_new();
	struct view *view;

	view_make_root(batch, 2, 1, S_IFDIR | 0755, 0, 0);
	if (kv_write(store->kv, batch, 0) < 0 || view_open(store->tree, &options, &view) < 0)
		abort();
	kv_batch_free(batch);
	return view;
}

static struct inode *file_of(struct view *view, const char *name)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct inode *inode;
	struct attr attr;

	if (view_create(view, ROOT_INO, name, &create, &attr, &inode) < 0)
		abort();
	return inode;
}

/* What was buffered in a head that is gone is dropped, which is no failure of the others. */
static void test_a_sync_of_all_does_not_fail_on_what_a_retired_head_drops(void **state)
{
	struct tree_store *store = *state;
	struct view *other = second_dataset(store);
	struct writing gone = {.inode = new_file(store, "f"), .len = LEN}, kept = {.inode = file_of(other, "f"), .len = LEN};
	struct freeze *freeze;

	(void)write_main(&gone);
	(void)write_main(&kept);
	assert_int_equal(freeze_begin_uncommitted(&store->view, 1, &freeze), 0);
	freeze_retire(freeze, store->view);
	freeze_end(freeze);
	assert_int_equal(tree_sync(store->tree), 0);
	assert_int_equal(buffered(store), 0);
	assert_int_equal(kv_unsynced_ms(store->kv), 0);
	assert_int_equal(view_dirty_bytes(other), 0);
	assert_true(has_all(kept.inode, LEN));
	/* who asks for the one that is gone is told */
	assert_int_equal(inode_sync(gone.inode), -ESTALE);
	inode_close(gone.inode);
	inode_close(kept.inode);
	view_close(other);
}

/* --- others' failures --- */

/* cmocka's jump out of a failed assertion must not leave the child: it would run the parent's tests. */
#define REQUIRE(condition)                                                          \
	do {                                                                        \
		if (!(condition)) {                                                 \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);     \
			abort();                                                    \
		}                                                                   \
	} while (0)

static void wait_until_one_fails(struct tree *tree)
{
	uint64_t failing;
	int error;

	do {
		clock_pause_us(1000);
		pending_failing(tree, &failing, &error);
	} while (failing == 0);
}

/* One file cannot be committed, the commit of another takes its time: it makes the room that a third is waited for. */
static void run_beside_a_failure(struct tree_store *store)
{
	struct writing fails, slow, waits;
	struct freeze *freeze;
	struct view *other;

	tree_store_open(store, true);
	other = second_dataset(store);
	/* the first is not due before somebody waits, the second is at once */
	fails = (struct writing){.inode = new_file(store, "fails"), .len = BUDGET / 10};
	slow = (struct writing){.inode = file_of(other, "slow"), .len = BUDGET / 4 + LEN};
	waits = (struct writing){.inode = new_file(store, "waits"), .len = BUDGET - BUDGET / 4};
	REQUIRE(freeze_begin_uncommitted(&other, 1, &freeze) == 0);
	/* not by the thread that holds the freeze: that may take no inode */
	begin_writing(&slow);
	begin_writing(&fails);
	REQUIRE(end_writing(&slow) == 0 && end_writing(&fails) == 0);
	begin_writing(&waits);
	wait_until_one_fails(store->tree);
	clock_pause_us(A_WHILE_MS * 1000);
	freeze_end(freeze);
	REQUIRE(end_writing(&waits) == 0);
	REQUIRE(tree_sync(store->tree) == 0);
	REQUIRE(has_all(fails.inode, fails.len) && has_all(slow.inode, slow.len) && has_all(waits.inode, waits.len));
	inode_close(fails.inode);
	inode_close(slow.inode);
	inode_close(waits.inode);
	view_close(other);
	tree_store_close(store);
}

/* What fails has all the room, and a writer is told so. */
static void run_behind_a_failure(struct tree_store *store)
{
	struct writing fails, waits;

	tree_store_open(store, true);
	fails = (struct writing){.inode = new_file(store, "fails"), .len = BUDGET};
	waits = (struct writing){.inode = new_file(store, "waits"), .len = MIB};
	(void)write_main(&fails);
	begin_writing(&waits);
	REQUIRE(fails.result == 0 && end_writing(&waits) == -EIO);
	/* the second failure may have come by now, or not */
	REQUIRE(tree_sync(store->tree) == 0 || tree_sync(store->tree) == 0);
	REQUIRE(has_all(fails.inode, fails.len));
	inode_close(fails.inode);
	inode_close(waits.inode);
	tree_store_close(store);
}

static void wait_until_claimed(struct tree *tree, const struct view *view)
{
	bool is_claimed;

	do {
		clock_pause_us(1000);
		mutex_take(&tree->pending->lock);
		is_claimed = tree->pending->claims && tree->pending->claims->view == view;
		mutex_give(&tree->pending->lock);
	} while (!is_claimed);
}

static void *sync_main(void *arg)
{
	REQUIRE(view_sync(arg) == 0);
	return NULL;
}

static bool is_listed(struct tree *tree, const struct inode *inode)
{
	mutex_take(&tree->pending->lock);
	bool is_listed = inode->on_dirty_list;
	mutex_give(&tree->pending->lock);
	return is_listed;
}

struct beside {
	struct inode *fails, *later;
};

static void *fail_and_list(void *arg)
{
	const struct beside *beside = arg;

	REQUIRE(inode_commit(beside->fails) == -EIO);
	mutex_take(&beside->later->lock);
	pending_note(beside->later);
	mutex_give(&beside->later->lock);
	return NULL;
}

/* While one dataset is synced, a commit of another fails. What came after the sync had begun is none of its business. */
static void run_sync_beside_a_failure(struct tree_store *store)
{
	struct writing synced, fails;
	struct inode *later;
	struct freeze *freeze;
	struct beside beside;
	struct view *other;
	pthread_t thread, failing;

	tree_store_open(store, true);
	other = second_dataset(store);
	synced = (struct writing){.inode = new_file(store, "synced"), .len = LEN};
	later = new_file(store, "later");
	fails = (struct writing){.inode = file_of(other, "fails"), .len = LEN};
	beside = (struct beside){fails.inode, later};
	(void)write_main(&synced);
	(void)write_main(&fails);
	REQUIRE(freeze_begin_uncommitted(&store->view, 1, &freeze) == 0);
	REQUIRE(pthread_create(&thread, NULL, sync_main, store->view) == 0);
	wait_until_claimed(store->tree, store->view);
	/* not by the thread that holds the freeze: that may take no inode */
	REQUIRE(pthread_create(&failing, NULL, fail_and_list, &beside) == 0);
	pthread_join(failing, NULL);
	freeze_end(freeze);
	pthread_join(thread, NULL);
	REQUIRE(is_listed(store->tree, later) && !is_listed(store->tree, synced.inode));
	REQUIRE(tree_sync(store->tree) == 0);
	inode_close(synced.inode);
	inode_close(later);
	inode_close(fails.inode);
	view_close(other);
	tree_store_close(store);
}

/* A write that finds no memory buffers nothing, so it takes nothing of the quota. */
static void run_write_without_memory(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xcalloc(1, LEN);
	struct inode *inode;
	void *block;

	store->budget = 4 * LARGE_BUDGET; /* nothing is committed meanwhile, as it would be once half of it is in use */
	tree_store_open(store, true);
	quota_set(store->view, 2 * LEN);
	inode = new_file(store, "file");
	REQUIRE(inode_write(inode, 0, data, LEN, 0) == -ENOMEM);
	REQUIRE(inode_write(inode, 0, data, LEN, 0) == 0);
	REQUIRE(bulk_block_take(inode, &block) == 0);
	/* it overlaps what is buffered, so it is copied there */
	REQUIRE(bulk_block_write(inode, LEN - 1, block, LEN + 1) == -ENOMEM);
	REQUIRE(inode_write(inode, LEN, data, LEN, 0) == 0);
	REQUIRE(inode_write(inode, 2 * LEN, data, 1, 0) == -EDQUOT);
	inode_close(inode);
	tree_store_close(store);
}

/* Fault points are read once in a process, so each case runs in one of its own. */
static void in_process(const char *fault, void (*run)(struct tree_store *store))
{
	struct tree_store store = {.budget = BUDGET, .idle_ms = 1000000};
	pid_t child;
	int status;

	tree_store_place(&store);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		run(&store);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	tree_store_remove(&store);
	assert_int_equal(status, 0);
}

static void test_a_writer_waits_for_the_room_that_others_make_beside_a_failure(void **state)
{
	in_process("commit-before-store:eio", run_beside_a_failure);
}

static void test_a_writer_is_told_when_what_fails_has_all_the_room(void **state)
{
	in_process("commit-before-store:eio,commit-before-store:eio:2", run_behind_a_failure);
}

static void test_a_write_that_finds_no_memory_takes_nothing_of_the_quota(void **state)
{
	in_process("buffer-before-memory:enomem:1,buffer-before-memory:enomem:3", run_write_without_memory);
}

static void test_a_sync_of_a_dataset_does_not_start_over_for_failures_of_others(void **state)
{
	in_process("commit-before-store:eio", run_sync_beside_a_failure);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_writer_waits_for_the_room_that_others_make_beside_a_failure),
		cmocka_unit_test(test_a_writer_is_told_when_what_fails_has_all_the_room),
		cmocka_unit_test(test_a_write_that_finds_no_memory_takes_nothing_of_the_quota),
		cmocka_unit_test(test_a_sync_of_a_dataset_does_not_start_over_for_failures_of_others),
		WAITING_TEST(test_a_writer_who_waited_for_room_is_refused_by_a_head_that_was_locked),
		WAITING_TEST(test_nothing_is_accepted_while_a_head_is_locked),
		WAITING_TEST(test_nothing_is_accepted_while_a_head_is_retired),
		WAITING_TEST(test_writers_go_on_when_the_head_stays),
		WAITING_TEST(test_a_sync_of_all_does_not_fail_on_what_a_retired_head_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
