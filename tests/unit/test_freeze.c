#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/clock.h"
#include "lib/tree/inodes/inode.h"
#include "tests/unit/dataset_store.h"
#include "tests/unit/fault_wait.h"

#define COPY_LEN (1U << 20)
#define POINT "copy-before-change"
#define PATIENCE_S 20 /* what hangs is given up after it */

/* Two datasets, `first` with the lower id, and an open file in each. */
struct pair {
	struct place place;
	struct view *first, *second;
	struct inode *target, *source; /* in first, in second */
	atomic_bool is_over;
	ssize_t copied;
	int taken;
};

static struct inode *make_file(struct view *view)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_create(view, ROOT_INO, "file", &create, &attr, &inode), 0);
	return inode;
}

static void pair_make(struct pair *pair)
{
	AUTO_FREE uint8_t *data = xmalloc(COPY_LEN);
	struct error err = {0};

	*pair = (struct pair){.copied = -1, .taken = -1};
	place_init(&pair->place);
	assert_int_equal(dataset_create(pair->place.store, "first", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(dataset_create(pair->place.store, "second", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(store_head(pair->place.store, "first", &pair->first), 0);
	assert_int_equal(store_head(pair->place.store, "second", &pair->second), 0);
	pair->target = make_file(pair->first);
	pair->source = make_file(pair->second);
	fill_random(1, data, COPY_LEN);
	assert_int_equal(inode_write(pair->source, 0, data, COPY_LEN, 0), 0);
}

static void pair_clear(struct pair *pair)
{
	inode_close(pair->target);
	inode_close(pair->source);
	store_view_put(pair->place.store, pair->first);
	store_view_put(pair->place.store, pair->second);
	place_clear(&pair->place);
}

static void start(pthread_t *thread, void *(*run)(void *), struct pair *pair)
{
	assert_int_equal(pthread_create(thread, NULL, run, pair), 0);
}

/* A thread that hangs stays behind, and the test program with it ends. */
static void finish(pthread_t thread, const char *what)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	if (pthread_timedjoin_np(thread, NULL, &until) != 0) {
		print_error("%s hangs\n", what);
		_exit(1);
	}
}

static void *copy(void *arg)
{
	struct pair *pair = arg;

	pair->copied = inode_copy(pair->source, 0, pair->target, 0, COPY_LEN);
	return NULL;
}

/* Keeps the source dirty, beyond what is copied. */
static void *append(void *arg)
{
	struct pair *pair = arg;
	uint64_t offset = COPY_LEN;

	for (; !atomic_load(&pair->is_over); offset += 4) {
		if (inode_write(pair->source, offset, "more", 4, 0) < 0)
			break;
		clock_pause_us(500);
	}
	return NULL;
}

static void *take_both(void *arg)
{
	const struct snapshot_name wanted[] = {{"first", "both"}, {"second", "both"}};
	struct pair *pair = arg;
	struct error err = {0};

	pair->taken = snapshot_create(pair->place.store, wanted, ARRAY_SIZE(wanted), NULL, 0, &err);
	return NULL;
}

/*
 * The copier has both inodes locked and waits for the first dataset's epoch; the second dataset has content to commit in an inode that
 * the copier has locked. Whoever holds the first epoch while he commits the second dataset waits for ever.
 */
static void a_snapshot_of_two_datasets_passes_a_copy_between_them(void **state)
{
	pthread_t appending, copying, taking;
	struct pair pair;

	pair_make(&pair);
	start(&appending, append, &pair);
	start(&copying, copy, &pair);
	fault_wait(POINT);
	start(&taking, take_both, &pair);
	finish(copying, "the copy");
	finish(taking, "the snapshot");
	atomic_store(&pair.is_over, true);
	finish(appending, "the writer");
	assert_int_equal(pair.copied, COPY_LEN);
	assert_int_equal(pair.taken, 0);
	pair_clear(&pair);
}

/* Each write is of the same number to both files, first to `source`. */
static void *count_up(void *arg)
{
	struct pair *pair = arg;

	for (uint64_t number = 1; !atomic_load(&pair->is_over); number++) {
		if (inode_write(pair->source, COPY_LEN, &number, sizeof(number), 0) < 0)
			break;
		if (inode_write(pair->target, COPY_LEN, &number, sizeof(number), 0) < 0)
			break;
	}
	return NULL;
}

static uint64_t number_in(struct pair *pair, const char *dataset)
{
	struct inode *inode;
	struct view *view;
	struct attr attr;
	uint64_t number = 0;

	assert_int_equal(store_snapshot(pair->place.store, dataset, "both", &view), 0);
	assert_int_equal(view_lookup(view, ROOT_INO, "file", &attr), 0);
	assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	assert_true(inode_read(inode, COPY_LEN, sizeof(number), &number) >= 0);
	inode_close(inode);
	store_view_put(pair->place.store, view);
	return number;
}

static void a_writer_that_never_stops_is_frozen_at_one_instant(void **state)
{
	pthread_t counting, taking;
	struct error err = {0};
	struct pair pair;

	pair_make(&pair);
	start(&counting, count_up, &pair);
	for (unsigned i = 0; i < 20; i++) {
		start(&taking, take_both, &pair);
		finish(taking, "the snapshot");
		assert_int_equal(pair.taken, 0);
		uint64_t before = number_in(&pair, "second"), after = number_in(&pair, "first");
		assert_true(before == after || before == after + 1);
		assert_int_equal(snapshot_destroy(pair.place.store, "first", "both", &err), 0);
		assert_int_equal(snapshot_destroy(pair.place.store, "second", "both", &err), 0);
	}
	atomic_store(&pair.is_over, true);
	finish(counting, "the writer");
	pair_clear(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_of_two_datasets_passes_a_copy_between_them),
		cmocka_unit_test(a_writer_that_never_stops_is_frozen_at_one_instant),
	};

	setenv("CORPUSFS_FAULT", POINT ":sleep1500", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
