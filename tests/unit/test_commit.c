#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/base/clock.h"
#include "lib/tree/content/pending.h"
#include "tests/unit/fault_wait.h"
#include "tests/unit/tree_store.h"

#define FILE_LEN 200000

static void fill(uint8_t *data, char generation)
{
	fill_noise(data, FILE_LEN, (uint64_t)generation);
}

static void put(struct inode *inode, char generation, size_t len)
{
	AUTO_FREE uint8_t *data = xmalloc(FILE_LEN);

	fill(data, generation);
	assert_int_equal(inode_write(inode, 0, data, len, 0), 0);
}

static bool has(struct inode *inode, char generation, size_t len)
{
	AUTO_FREE uint8_t *data = xmalloc(FILE_LEN), *out = xmalloc(FILE_LEN);

	fill(data, generation);
	return inode_read(inode, 0, FILE_LEN, out) == (ssize_t)len && memcmp(data, out, len) == 0;
}

/* The variable of the fault points is read once in a process, so each case runs in one of its own. */
static int in_process(const char *fault, void (*run)(struct tree_store *store), struct tree_store *store)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		run(store);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* cmocka's jump out of a failed assertion must not leave the child: it would run the parent's tests. */
#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static void prepare(struct tree_store *store)
{
	*store = (struct tree_store){ .budget = 64 * MIB, .idle_ms = 1000000 };
	tree_store_place(store);
}

/* Two files of one group: one inline, one of extents. The second commit of them meets the fault. */
static void run_overwrite(struct tree_store *store)
{
	struct inode *big, *small;

	tree_store_open(store, true);
	big = new_file(store, "big");
	small = new_file(store, "small");
	put(big, 'a', FILE_LEN);
	put(small, 'a', 1000);
	REQUIRE(view_sync(store->view) == 0);
	put(big, 'b', FILE_LEN);
	put(small, 'b', 1000);
	REQUIRE(view_sync(store->view) == 0);
	_exit(1); /* the fault did not come */
}

static void run_check_whole(struct tree_store *store)
{
	struct inode *big, *small;
	char now;

	tree_store_open(store, false);
	big = open_file(store, "big");
	small = open_file(store, "small");
	now = has(big, 'b', FILE_LEN) ? 'b' : 'a';
	REQUIRE(has(big, now, FILE_LEN));
	REQUIRE(has(small, now, 1000));
	inode_close(big);
	inode_close(small);
	tree_store_close(store);
}

static void test_killed_in_a_commit_the_content_is_old_or_new(void **state)
{
	static const char *const faults[] = { "commit-before-store:kill:2", "commit-before-write:kill:2", "commit-after-write:kill:2" };

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct tree_store store;
		int status;

		prepare(&store);
		status = in_process(faults[i], run_overwrite, &store);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_int_equal(in_process("", run_check_whole, &store), 0);
		tree_store_remove(&store);
	}
}

/* Bytes are written over others, then the file is cut behind them; nobody syncs. */
static void run_cut(struct tree_store *store)
{
	struct setattr cut = { .mask = SET_SIZE, .size = FILE_LEN / 2 };
	struct inode *inode;
	struct attr attr;

	tree_store_open(store, true);
	inode = new_file(store, "big");
	put(inode, 'a', FILE_LEN);
	REQUIRE(inode_sync(inode) == 0);
	put(inode, 'b', FILE_LEN / 2);
	REQUIRE(view_setattr(store->view, inode_ino(inode), &cut, &attr) == 0);
	kill(getpid(), SIGKILL);
}

static void run_check_cut(struct tree_store *store)
{
	struct inode *inode;

	tree_store_open(store, false);
	inode = open_file(store, "big");
	REQUIRE(has(inode, 'a', FILE_LEN) || has(inode, 'b', FILE_LEN / 2));
	inode_close(inode);
	tree_store_close(store);
}

static void test_a_file_is_not_cut_before_what_was_written_to_it_is_there(void **state)
{
	struct tree_store store;

	prepare(&store);
	int status = in_process("", run_cut, &store);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(in_process("", run_check_cut, &store), 0);
	tree_store_remove(&store);
}

static void run_failing_commit(struct tree_store *store)
{
	struct inode *big, *small;
	uint64_t bytes, inodes;

	tree_store_open(store, true);
	big = new_file(store, "big");
	small = new_file(store, "small");
	put(big, 'a', FILE_LEN);
	put(small, 'a', 1000);
	REQUIRE(inode_sync(big) == -ENOSPC);
	REQUIRE(has(big, 'a', FILE_LEN));
	put(big, 'b', FILE_LEN / 2); /* over what was put back */
	pending_usage(store->tree, NULL, &bytes, &inodes);
	REQUIRE(bytes == FILE_LEN + 1000 && inodes == 2);
	put(big, 'a', FILE_LEN / 3);
	put(big, 'a', FILE_LEN / 2);
	REQUIRE(inode_sync(big) == 0 && inode_sync(small) == 0);
	pending_usage(store->tree, NULL, &bytes, &inodes);
	REQUIRE(bytes == 0 && inodes == 0);
	REQUIRE(has(big, 'a', FILE_LEN) && has(small, 'a', 1000));
	inode_close(big);
	inode_close(small);
	tree_store_close(store);
	tree_store_open(store, false);
	big = open_file(store, "big");
	REQUIRE(has(big, 'a', FILE_LEN));
	inode_close(big);
	tree_store_close(store);
}

/* The first commit has no room, before its content is stored or afterwards. */
static void each_full_disk(void (*run)(struct tree_store *store))
{
	static const char *const faults[] = { "commit-before-store:enospc", "commit-before-write:enospc" };

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct tree_store store;

		prepare(&store);
		assert_int_equal(in_process(faults[i], run, &store), 0);
		tree_store_remove(&store);
	}
}

static void test_a_failed_commit_loses_nothing_and_is_told(void **state)
{
	each_full_disk(run_failing_commit);
}

/* What did not fit is cut off again: nothing is left that could be lost. */
static void run_cut_after_a_failure(struct tree_store *store)
{
	const struct setattr cut = { .mask = SET_SIZE };
	struct inode *inode;
	struct attr attr;

	tree_store_open(store, true);
	inode = new_file(store, "big");
	put(inode, 'a', FILE_LEN);
	REQUIRE(inode_sync(inode) == -ENOSPC && view_setattr(store->view, inode_ino(inode), &cut, &attr) == 0);
	REQUIRE(inode_sync(inode) == 0);
	put(inode, 'b', FILE_LEN);
	REQUIRE(inode_sync(inode) == 0 && has(inode, 'b', FILE_LEN));
	inode_close(inode);
	tree_store_close(store);
}

static void test_a_failure_is_over_when_nothing_is_left_to_commit(void **state)
{
	each_full_disk(run_cut_after_a_failure);
}

/* One failing file of a group: the others are committed one by one. */
static void run_failing_group(struct tree_store *store)
{
	char name[32];

	tree_store_open(store, true);
	for (int i = 0; i < 20; i++) {
		struct inode *inode;

		snprintf(name, sizeof(name), "f%d", i);
		inode = new_file(store, name);
		put(inode, (char)('a' + i), 5000);
		inode_close(inode);
	}
	REQUIRE(view_sync(store->view) == 0);
	tree_store_close(store);
	tree_store_open(store, false);
	for (int i = 0; i < 20; i++) {
		struct inode *inode;

		snprintf(name, sizeof(name), "f%d", i);
		inode = open_file(store, name);
		REQUIRE(has(inode, (char)('a' + i), 5000));
		inode_close(inode);
	}
	tree_store_close(store);
}

static void test_a_failed_group_is_tried_file_by_file(void **state)
{
	struct tree_store store;

	prepare(&store);
	assert_int_equal(in_process("commit-before-write:eio", run_failing_group, &store), 0);
	tree_store_remove(&store);
}

/* Several writers, each more than the budget: nobody waits for ever. */
static void *write_much(void *arg)
{
	struct inode *inode = arg;
	AUTO_FREE uint8_t *data = xmalloc(MIB);

	for (uint64_t i = 0; i < 24; i++) {
		memset(data, (int)i, MIB);
		if (inode_write(inode, i * MIB, data, MIB, 0) < 0)
			abort();
		if (i % 8 == 7 && inode_sync(inode) < 0)
			abort();
	}
	return NULL;
}

static void test_writers_beyond_the_budget_go_on(void **state)
{
	struct tree_store store;
	struct inode *inodes[3];
	pthread_t threads[3];
	uint64_t bytes, count;
	uint8_t byte;

	prepare(&store);
	store.budget = 4 * MIB;
	tree_store_open(&store, true);
	for (int i = 0; i < 3; i++) {
		char name[2] = { (char)('a' + i), 0 };

		inodes[i] = new_file(&store, name);
		assert_int_equal(pthread_create(&threads[i], NULL, write_much, inodes[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(inode_read(inodes[i], 23 * MIB + 5, 1, &byte), 1);
		assert_int_equal(byte, 23);
		inode_close(inodes[i]);
	}
	assert_int_equal(tree_sync(store.tree), 0);
	pending_usage(store.tree, NULL, &bytes, &count);
	assert_int_equal(bytes, 0);
	tree_store_close(&store);
	tree_store_remove(&store);
}

static void test_idle_files_are_committed_by_themselves(void **state)
{
	struct tree_store store;
	struct inode *inode;
	uint64_t bytes = 1, count;

	prepare(&store);
	store.idle_ms = 20;
	tree_store_open(&store, true);
	inode = new_file(&store, "file");
	put(inode, 'a', FILE_LEN);
	for (int i = 0; i < 2000 && bytes > 0; i++) {
		usleep(10000);
		pending_usage(store.tree, NULL, &bytes, &count);
	}
	assert_int_equal(bytes, 0);
	assert_true(has(inode, 'a', FILE_LEN));
	inode_close(inode);
	tree_store_close(&store);
	tree_store_remove(&store);
}

/* --- waiting for others --- */

static void claim_one(struct pending *pending, struct claim *claim, struct inode *inode)
{
	mutex_take(&pending->lock);
	pending_claim_inode(pending, claim, inode);
	mutex_give(&pending->lock);
}

static void end_without_commit(struct pending *pending, struct claim *claim, struct inode *inode)
{
	mutex_take(&pending->lock);
	inode->claimed = false;
	pending_end_claim(pending, claim);
	mutex_give(&pending->lock);
}

static bool others_at_work(struct pending *pending, const struct wanted *wanted)
{
	mutex_take(&pending->lock);
	bool at_work = pending_others_at_work(pending, wanted);
	mutex_give(&pending->lock);
	return at_work;
}

/* The list's reference is the claim's, and goes back with the note. */
static void list_again(struct inode *inode)
{
	mutex_take(&inode->lock);
	pending_note(inode);
	mutex_give(&inode->lock);
	inode_put(inode);
}

/* A background thread claims what was written before a sync, while that commits other files; and then what was written since. */
static void test_a_sync_waits_for_what_others_claim_meanwhile(void **state)
{
	struct tree_store store;

	prepare(&store);
	tree_store_open(&store, true);

	struct inode *inodes[3] = { new_file(&store, "a"), new_file(&store, "b"), new_file(&store, "c") };
	struct pending *pending = store.tree->pending;
	struct claim claims[3];

	put(inodes[0], 'a', FILE_LEN);
	put(inodes[1], 'a', FILE_LEN);

	const struct wanted wanted = { .view = store.view, .until = pending->next_note };

	claim_one(pending, &claims[0], inodes[0]);
	claim_one(pending, &claims[1], inodes[1]);
	end_without_commit(pending, &claims[0], inodes[0]);
	assert_true(others_at_work(pending, &wanted));
	put(inodes[2], 'a', FILE_LEN);
	claim_one(pending, &claims[2], inodes[2]);
	assert_true(others_at_work(pending, &wanted));
	end_without_commit(pending, &claims[1], inodes[1]);
	assert_false(others_at_work(pending, &wanted));
	end_without_commit(pending, &claims[2], inodes[2]);
	for (size_t i = 0; i < ARRAY_SIZE(inodes); i++) {
		list_again(inodes[i]);
		inode_close(inodes[i]);
	}
	tree_store_close(&store);
	tree_store_remove(&store);
}

/* --- a copy beside another writer --- */

#define FAR_AWAY (1U << 20)

static void *copy_far(void *arg)
{
	struct inode **files = arg;

	REQUIRE(inode_copy(files[0], 0, files[1], FAR_AWAY, FILE_LEN) == FILE_LEN);
	return NULL;
}

/* While the copy is on its way, and has committed all there was, somebody writes before the place where it goes. */
static void run_copy_beside_a_writer(struct tree_store *store)
{
	struct inode *files[2];
	pthread_t thread;

	tree_store_open(store, true);
	files[0] = new_file(store, "source");
	files[1] = new_file(store, "target");
	put(files[0], 'a', FILE_LEN);
	REQUIRE(view_sync(store->view) == 0);
	const uint64_t begun = clock_ms();
	REQUIRE(pthread_create(&thread, NULL, copy_far, files) == 0);
	fault_wait("copy-before-step");
	put(files[1], 'b', FILE_LEN);
	const bool in_time = clock_ms() - begun < 1000;
	pthread_join(thread, NULL);
	/* if it came after the copy, a hole would be right */
	REQUIRE(in_time || view_sync(store->view) == 0);
	_exit(0);
}

static void run_check_beside(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xmalloc(FILE_LEN), *found = xmalloc(FILE_LEN);
	struct inode *target;

	tree_store_open(store, false);
	target = open_file(store, "target");
	fill(data, 'b');
	ssize_t have = inode_read(target, 0, FILE_LEN, found);
	REQUIRE(have >= 0 && memcmp(found, data, (size_t)have) == 0);
	inode_close(target);
	tree_store_close(store);
}

static void test_killed_after_a_copy_the_bytes_before_it_are_no_hole(void **state)
{
	struct tree_store store;

	prepare(&store);
	assert_int_equal(in_process("copy-before-step:sleep1000", run_copy_beside_a_writer, &store), 0);
	assert_int_equal(in_process("", run_check_beside, &store), 0);
	tree_store_remove(&store);
}

int main(void)
{
	/* the tests that fork come first: no thread is running yet */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_in_a_commit_the_content_is_old_or_new),
		cmocka_unit_test(test_killed_after_a_copy_the_bytes_before_it_are_no_hole),
		cmocka_unit_test(test_a_file_is_not_cut_before_what_was_written_to_it_is_there),
		cmocka_unit_test(test_a_failed_commit_loses_nothing_and_is_told),
		cmocka_unit_test(test_a_failure_is_over_when_nothing_is_left_to_commit),
		cmocka_unit_test(test_a_failed_group_is_tried_file_by_file),
		cmocka_unit_test(test_writers_beyond_the_budget_go_on),
		cmocka_unit_test(test_idle_files_are_committed_by_themselves),
		cmocka_unit_test(test_a_sync_waits_for_what_others_claim_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
