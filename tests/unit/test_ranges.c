#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/unit/pieces.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO FALLOC_FL_ZERO_RANGE
#define MANY 4000 /* pieces: more than go into a step */

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

/* A new store, and the scenario in a process with the fault. */
static void run_with(const char *fault, void (*run)(struct tree_store *store))
{
	struct tree_store store = { .budget = 64 * MIB, .idle_ms = 1000000 };

	tree_store_place(&store);
	assert_int_equal(in_process(fault, run, &store), 0);
	tree_store_remove(&store);
}

/* --- work follows extents --- */

/* A range of 2^62 bytes in steps of bytes would take minutes. */
static void a_huge_range_costs_what_is_in_it(void **state)
{
	struct inode *inode = make_pieces(*state, 20);

	assert_int_equal(inode_allocate(inode, PUNCH, 19 * STRIDE, FAR - 19 * STRIDE), 0);
	assert_int_equal(allocated_of(inode), 19 * PIECE);
	assert_int_equal(inode_allocate(inode, PUNCH, 0, FAR), 0);
	assert_int_equal(allocated_of(inode), 0);
	assert_int_equal(size_of(inode), 19 * STRIDE + PIECE);
	assert_int_equal(inode_allocate(inode, 0, 0, FAR), -ENOSPC);
	assert_int_equal(inode_allocate(inode, ZERO, 0, FAR), -ENOSPC);
	assert_int_equal(resize(inode, FAR), 0);
	assert_int_equal(resize(inode, 1), 0);
	inode_close(inode);
}

static void a_huge_hole_is_copied_at_once(void **state)
{
	struct inode *source = make_pieces(*state, 3), *target = new_file(*state, "target");
	uint64_t len = 1ULL << 61;

	assert_int_equal(resize(source, len), 0);
	assert_int_equal(inode_write(target, STRIDE + 50, "under the hole", 14, 0), 0);
	assert_int_equal(inode_copy(source, 0, target, 0, FAR), len);
	assert_int_equal(size_of(target), len);
	assert_int_equal(allocated_of(target), 3 * PIECE);
	for (uint64_t i = 0; i < 3; i++)
		assert_true(has_piece(target, i));
	inode_close(source);
	inode_close(target);
}

static void copies_of_many_extents_are_whole(void **state)
{
	struct inode *source = make_pieces(*state, MANY), *target = new_file(*state, "target");

	/* many extents give way, too */
	assert_int_equal(inode_copy(source, 0, target, 12345, FAR), (MANY - 1) * STRIDE + PIECE);
	assert_int_equal(inode_copy(source, 0, target, 0, FAR), (MANY - 1) * STRIDE + PIECE);
	for (uint64_t i = 0; i < MANY; i++)
		assert_true(has_piece(target, i));
	inode_close(source);
	inode_close(target);
}

/* --- steps --- */

struct work {
	struct inode *inode, *target;
	atomic_bool is_done;
	int (*run)(struct work *work);
	int result;
};

static int punch_all(struct work *work)
{
	return inode_allocate(work->inode, PUNCH, 0, FAR);
}

static int cut_all(struct work *work)
{
	return resize(work->inode, 0);
}

static int copy_all(struct work *work)
{
	return inode_copy(work->target, 0, work->inode, 0, FAR) > 0 ? 0 : -EIO;
}

static void *work_main(void *arg)
{
	struct work *work = arg;

	work->result = work->run(work);
	atomic_store(&work->is_done, true);
	return NULL;
}

/* Somebody asks for the file's attributes while the work rests between two steps: he sees it half done. */
static void watch(struct work *work, uint64_t end)
{
	uint64_t begin = allocated_of(work->inode);
	uint64_t looked = clock_ms(), gap = 0;
	bool is_half_done = false;
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, work_main, work) == 0);
	while (!atomic_load(&work->is_done) && !is_half_done) {
		uint64_t now = allocated_of(work->inode);
		is_half_done = now > MIN(begin, end) && now < MAX(begin, end);
		clock_pause_us(100);
		gap = MAX(gap, clock_ms() - looked);
		looked = clock_ms();
	}
	REQUIRE(pthread_join(thread, NULL) == 0);
	REQUIRE(work->result == 0);
	REQUIRE(allocated_of(work->inode) == end);
	/* it rests between two steps for a second: who could not look meanwhile has seen nothing */
	REQUIRE(is_half_done || gap > 500);
}

static void run_punch(struct tree_store *store)
{
	tree_store_open(store, true);
	watch(&(struct work){ .inode = make_pieces(store, MANY), .run = punch_all }, 0);
}

static void run_cut(struct tree_store *store)
{
	tree_store_open(store, true);
	watch(&(struct work){ .inode = make_pieces(store, MANY), .run = cut_all }, 0);
}

static void run_copy(struct tree_store *store)
{
	struct inode *source;

	tree_store_open(store, true);
	source = make_pieces(store, MANY);
	watch(&(struct work){ .inode = new_file(store, "target"), .target = source, .run = copy_all }, MANY * PIECE);
}

static void long_work_lets_others_at_the_file(void **state)
{
	run_with("content-between-steps:sleep1000", run_punch);
	run_with("content-between-steps:sleep1000", run_cut);
	run_with("content-between-steps:sleep1000", run_copy);
}

static void run_cut_killed(struct tree_store *store)
{
	struct inode *inode;

	tree_store_open(store, true);
	inode = make_pieces(store, MANY);
	REQUIRE(resize(inode, STRIDE) == 0);
}

/* What a killed truncate leaves is a shorter file of the same content. */
static void run_check_prefix(struct tree_store *store)
{
	struct inode *inode;
	uint64_t pieces;

	tree_store_open(store, false);
	inode = open_file(store, "file");
	pieces = (size_of(inode) + STRIDE - 1) / STRIDE;
	REQUIRE(pieces > 1 && pieces < MANY);
	REQUIRE(allocated_of(inode) == pieces * PIECE);
	for (uint64_t i = 0; i < pieces; i++)
		REQUIRE(has_piece(inode, i));
	inode_close(inode);
	tree_store_close(store);
}

static void a_truncate_that_is_killed_leaves_a_longer_or_shorter_file(void **state)
{
	struct tree_store store = { .budget = 64 * MIB, .idle_ms = 1000000 };
	int status;

	tree_store_place(&store);
	/* the file is created, committed in 16 batches or less, and cut */
	status = in_process("content-between-steps:kill:2", run_cut_killed, &store);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(in_process("", run_check_prefix, &store), 0);
	tree_store_remove(&store);
}

/* --- what cannot be written changes nothing --- */

#define LEN 100000

/* Committed content, and over it what is buffered still. */
static struct inode *make_layers(struct tree_store *store, size_t len, uint8_t *data)
{
	struct inode *inode = new_file(store, "file");

	fill_noise(data, len, 3);
	REQUIRE(inode_write(inode, 0, data, len, 0) == 0);
	REQUIRE(inode_commit(inode) == 0);
	fill_noise(data + len / 2, len / 4, 4);
	REQUIRE(inode_write(inode, len / 2, data + len / 2, len / 4, 0) == 0);
	return inode;
}

static void require_same(struct inode *inode, const uint8_t *data, size_t len)
{
	AUTO_FREE uint8_t *found = xmalloc(len + 1);

	REQUIRE(size_of(inode) == len);
	REQUIRE(inode_read(inode, 0, len + 1, found) == (ssize_t)len);
	REQUIRE(memcmp(found, data, len) == 0);
}

/* The third transaction fails: the file was created, and committed. */
static void try_truncate(struct tree_store *store, size_t len)
{
	AUTO_FREE uint8_t *data = xmalloc(len);
	struct inode *inode;

	tree_store_open(store, true);
	inode = make_layers(store, len, data);
	REQUIRE(resize(inode, len / 3) == -ENOSPC);
	require_same(inode, data, len);
	REQUIRE(inode_commit(inode) == 0);
	require_same(inode, data, len);
	REQUIRE(resize(inode, len / 3) == 0);
	require_same(inode, data, len / 3);
	inode_close(inode);
	tree_store_close(store);
}

static void run_truncate(struct tree_store *store)
{
	try_truncate(store, LEN);
}

static void run_truncate_inline(struct tree_store *store)
{
	try_truncate(store, 1000);
}

/* The fourth fails: what is buffered is committed before. */
static void try_clear(struct tree_store *store, size_t len, int mode)
{
	AUTO_FREE uint8_t *data = xmalloc(len);
	struct inode *inode;

	tree_store_open(store, true);
	inode = make_layers(store, len, data);
	REQUIRE(inode_allocate(inode, mode, len / 3, len / 3) == -ENOSPC);
	require_same(inode, data, len);
	REQUIRE(inode_allocate(inode, mode, len / 3, len / 3) == 0);
	memset(data + len / 3, 0, len / 3);
	require_same(inode, data, len);
	inode_close(inode);
	tree_store_close(store);
}

static void run_punch_inline(struct tree_store *store)
{
	try_clear(store, 1000, PUNCH);
}

static void run_punch_extents(struct tree_store *store)
{
	try_clear(store, LEN, PUNCH);
}

static void run_zero_inline(struct tree_store *store)
{
	try_clear(store, 1000, ZERO);
}

static void run_zero_extents(struct tree_store *store)
{
	try_clear(store, LEN, ZERO);
}

/* The sixth fails: both files were created and committed, and what is buffered of the target is committed before. */
static void run_copy_over(struct tree_store *store)
{
	AUTO_FREE uint8_t *copied = xmalloc(LEN), *data = xmalloc(LEN);
	struct inode *source, *target;

	tree_store_open(store, true);
	source = new_file(store, "source");
	fill_noise(copied, LEN, 5);
	REQUIRE(inode_write(source, 0, copied, LEN, 0) == 0);
	REQUIRE(inode_commit(source) == 0);
	target = make_layers(store, LEN, data);
	REQUIRE(inode_copy(source, 0, target, 0, LEN) == -ENOSPC);
	require_same(target, data, LEN);
	REQUIRE(inode_copy(source, 0, target, 0, LEN) == LEN);
	require_same(target, copied, LEN);
	inode_close(source);
	inode_close(target);
	tree_store_close(store);
}

static void what_cannot_be_written_changes_nothing(void **state)
{
	run_with("transaction-before-write:enospc:3", run_truncate);
	run_with("transaction-before-write:enospc:3", run_truncate_inline);
	run_with("transaction-before-write:enospc:4", run_punch_inline);
	run_with("transaction-before-write:enospc:4", run_punch_extents);
	run_with("transaction-before-write:enospc:4", run_zero_inline);
	run_with("transaction-before-write:enospc:4", run_zero_extents);
	run_with("transaction-before-write:enospc:6", run_copy_over);
}

int main(void)
{
	/* the tests that fork come first: no thread is running yet */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_work_lets_others_at_the_file),
		cmocka_unit_test(a_truncate_that_is_killed_leaves_a_longer_or_shorter_file),
		cmocka_unit_test(what_cannot_be_written_changes_nothing),
		TREE_TEST(a_huge_range_costs_what_is_in_it),
		TREE_TEST(a_huge_hole_is_copied_at_once),
		TREE_TEST(copies_of_many_extents_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
