/* What is pinned in the cache of blobs on a local disk: it never goes, whatever comes, and the cache never outgrows its limit for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "tests/unit/cached_pins.h"

static int unpin(struct disk_cache *cache, const char *path)
{
	return disk_cache_unpin(cache, &(struct pin){.path = (char *)path, .backup = {.bytes = {7}}});
}

static void put_some(struct fixture *fixture, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		put(fixture, i);
		assert_true(each_file(fixture, NULL) <= LIMIT);
	}
}

static uint32_t count_some(struct fixture *fixture, struct some some)
{
	uint32_t count = 0;

	for (uint32_t i = some.from; i < some.to; i += some.apart)
		count += is_there(fixture, i);
	return count;
}

static void what_is_pinned_stays_whatever_comes(void **state)
{
	const struct some some = {0, 60, 1};
	struct fixture *fixture = *state;

	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	assert_true(disk_cache_state(fixture->cache).pinned > 1 << 20);
	assert_int_equal(disk_cache_state(fixture->cache).pinned_missing, disk_cache_state(fixture->cache).pinned);
	put_some(fixture, 0, 60);
	assert_int_equal(disk_cache_state(fixture->cache).pinned_missing, 0);
	for (int i = 0; i < 3; i++) {
		put_some(fixture, 1000 + 1000 * (uint32_t)i, 1600 + 1000 * (uint32_t)i);
		assert_int_equal(count_some(fixture, some), 60);
		reopen(fixture);
		assert_int_equal(disk_cache_state(fixture->cache).pinned_missing, 0);
	}
	assert_true(count_there(fixture, 3500, 3600) > 20);
	assert_int_equal(atomic_load(&fixture->problems), 0);
}

/* They lie among others, which go. */
static void what_is_there_already_is_pinned_where_it_is(void **state)
{
	const struct some some = {1, 101, 5};
	struct fixture *fixture = *state;
	const uint64_t before = (put_some(fixture, 0, 101), each_file(fixture, NULL));

	assert_int_equal(count_some(fixture, some), 20);
	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	assert_int_equal(each_file(fixture, NULL), before);
	assert_int_equal(disk_cache_state(fixture->cache).pinned_missing, 0);
	put_some(fixture, 1000, 3000);
	assert_int_equal(count_some(fixture, some), 20);
	assert_true(count_there(fixture, 0, 101) < 60);
	reopen(fixture);
	assert_int_equal(count_some(fixture, some), 20);
	/* What must stay takes hardly more room than it has bytes. */
	assert_true(count_there(fixture, 2900, 3000) > 80);
	assert_int_equal(each_file(fixture, NULL), disk_cache_state(fixture->cache).bytes);
}

static void what_is_unpinned_goes(void **state)
{
	const struct some first = {0, 40, 1}, second = {20, 60, 1};
	struct fixture *fixture = *state;
	struct pins pins = {0};
	uint64_t pinned;

	put_some(fixture, 0, 60);
	assert_int_equal(pin_some(fixture->cache, "/first", first), 0);
	assert_int_equal(pin_some(fixture->cache, "/second", second), 0);
	/* The same path again is the same pin. */
	assert_int_equal(pin_some(fixture->cache, "/first", first), 0);
	disk_cache_pins(fixture->cache, &pins);
	assert_int_equal(pins.count, 2);
	pins_clear(&pins);
	assert_int_equal(unpin(fixture->cache, "/first"), 0);
	assert_int_equal(unpin(fixture->cache, "/first"), -ENOENT);
	put_some(fixture, 1000, 1600);
	assert_int_equal(count_some(fixture, second), 40);
	assert_true(count_there(fixture, 1, 20) < 10);
	pinned = disk_cache_state(fixture->cache).pinned;
	reopen(fixture);
	assert_int_equal(disk_cache_state(fixture->cache).pinned, pinned);
	assert_int_equal(disk_cache_unpin(fixture->cache, NULL), 0);
	assert_int_equal(disk_cache_state(fixture->cache).pinned, 0);
	put_some(fixture, 2000, 2600);
	assert_true(count_some(fixture, second) < 20);
	assert_int_equal(disk_cache_unpin(fixture->cache, NULL), -ENOENT);
}

static void no_more_is_pinned_than_seven_eighths(void **state)
{
	const struct some some = {0, 60, 1}, too_much = {60, 300, 1};
	struct fixture *fixture = *state;
	uint64_t pinned;

	put_some(fixture, 0, 60);
	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	pinned = disk_cache_state(fixture->cache).pinned;
	assert_int_equal(pin_some(fixture->cache, "/b", too_much), -ENOBUFS);
	assert_int_equal(pin_some(fixture->cache, "/a", too_much), -ENOBUFS);
	assert_int_equal(disk_cache_state(fixture->cache).pinned, pinned);
	reopen(fixture);
	assert_int_equal(disk_cache_state(fixture->cache).pinned, pinned);
	put_some(fixture, 1000, 1600);
	assert_int_equal(count_some(fixture, some), 60);
}

static void damaged_blob_that_is_pinned_is_pinned_when_it_comes_again(void **state)
{
	const struct some some = {1, 60, 7};
	struct fixture *fixture = *state;
	char path[128];

	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	for (uint32_t i = some.from; i < some.to; i += some.apart)
		put(fixture, i);
	snprintf(path, sizeof(path), "%s/00000001", fixture->path);
	assert_int_equal(truncate(path, 40000), 0);
	assert_true(count_some(fixture, some) < 9);
	assert_true(disk_cache_state(fixture->cache).pinned_missing > 0);
	for (uint32_t i = some.from; i < some.to; i += some.apart)
		put(fixture, i);
	assert_int_equal(disk_cache_state(fixture->cache).pinned_missing, 0);
	put_some(fixture, 1000, 1600);
	assert_int_equal(count_some(fixture, some), 9);
}

static void spoil_pin(const struct fixture *fixture, unsigned number)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/pin-%08x", fixture->path, number);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "X", 1, 100), 1);
	close(fd);
}

static void damaged_pin_is_told_and_others_hold(void **state)
{
	const struct some some = {0, 30, 1}, others = {30, 60, 1};
	struct fixture *fixture = *state;

	put_some(fixture, 0, 60);
	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	assert_int_equal(pin_some(fixture->cache, "/b", others), 0);
	spoil_pin(fixture, 1);
	reopen(fixture);
	assert_int_equal(atomic_load(&fixture->problems), 1);
	put_some(fixture, 1000, 1600);
	assert_int_equal(count_some(fixture, others), 30);
	assert_true(count_there(fixture, 1, 30) < 15);
}

/* Its file is not read again: what it needs is known. */
static void damage_of_a_pin_is_nothing_to_the_pins_of_other_paths(void **state)
{
	const struct some some = {0, 30, 1}, others = {30, 60, 1};
	struct fixture *fixture = *state;
	uint64_t pinned;

	put_some(fixture, 0, 60);
	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	spoil_pin(fixture, 1);
	assert_int_equal(pin_some(fixture->cache, "/b", others), 0);
	pinned = disk_cache_state(fixture->cache).pinned;
	assert_int_equal(unpin(fixture->cache, "/b"), 0);
	assert_int_equal(atomic_load(&fixture->problems), 0);
	put_some(fixture, 1000, 1600);
	assert_int_equal(count_some(fixture, some), 30);
	/* It can be let go all the same, and the others hold. */
	put_some(fixture, 30, 60);
	assert_int_equal(pin_some(fixture->cache, "/b", others), 0);
	assert_int_equal(disk_cache_state(fixture->cache).pinned, pinned);
	assert_int_equal(unpin(fixture->cache, "/a"), 0);
	assert_true(disk_cache_state(fixture->cache).pinned < pinned);
	put_some(fixture, 2000, 2600);
	assert_int_equal(count_some(fixture, others), 30);
	assert_true(count_there(fixture, 1, 30) < 15);
}

static void of_each_pin_it_is_known_what_is_missing(void **state)
{
	struct fixture *fixture = *state;
	uint64_t bytes;

	put_some(fixture, 0, 40);
	assert_int_equal(pin_some(fixture->cache, "/whole", (struct some){0, 40, 1}), 0);
	assert_int_equal(pin_some(fixture->cache, "/half", (struct some){20, 60, 1}), 0);
	assert_int_equal(missing(fixture->cache, "/whole"), 0);
	assert_int_equal(missing(fixture->cache, "/half"), disk_cache_state(fixture->cache).pinned_missing);
	assert_true(missing(fixture->cache, "/half") > 0);
	put_some(fixture, 40, 60);
	assert_int_equal(missing(fixture->cache, "/half"), 0);
	assert_int_equal(disk_cache_missing(fixture->cache, &(struct pin){.path = (char *)"/none"}, &bytes), -ENOENT);
}

/* --- before it is known what is pinned --- */

static atomic_int asking; /* the thread that asks, as the kernel knows it */
static atomic_bool has_asked;

static void *unpin_all(void *arg)
{
	struct fixture *fixture = arg;
	static int result;

	asking = gettid();
	result = disk_cache_unpin(fixture->cache, NULL);
	has_asked = true;
	return &result;
}

static bool sleeps(int thread)
{
	char path[64], text[512] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
	file = fopen(path, "re");
	if (!file)
		return false;
	(void)!fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	state = strrchr(text, ')');
	return state && state[1] == ' ' && state[2] == 'S';
}

/* In a cache that is not loaded yet: until it waits, or is told something at once. */
static pthread_t ask_early(struct fixture *fixture)
{
	pthread_t thread;

	disk_cache_free(fixture->cache);
	fixture->cache = disk_cache_new(&(struct disk_cache_options){.dir = fixture->dir.dir, .limit = LIMIT, .problem = note, .arg = fixture});
	asking = 0;
	has_asked = false;
	assert_int_equal(pthread_create(&thread, NULL, unpin_all, fixture), 0);
	while (!has_asked && !(asking && sleeps(asking)))
		sched_yield();
	return thread;
}

static void who_lets_go_waits_until_it_is_known_what_is_pinned(void **state)
{
	struct fixture *fixture = *state;
	pthread_t thread;
	void *result;

	assert_int_equal(pin_some(fixture->cache, "/a", (struct some){0, 30, 1}), 0);
	thread = ask_early(fixture);
	disk_cache_load(fixture->cache);
	pthread_join(thread, &result);
	assert_int_equal(*(int *)result, 0);
	assert_int_equal(disk_cache_state(fixture->cache).pinned, 0);
}

static void who_waits_for_that_is_told_that_the_cache_was_stopped(void **state)
{
	struct fixture *fixture = *state;
	pthread_t thread = ask_early(fixture);
	void *result;

	disk_cache_stop(fixture->cache);
	pthread_join(thread, &result);
	assert_int_equal(*(int *)result, -ESHUTDOWN);
}

static void pins_that_could_not_be_read_are_not_written_over(void **state)
{
	const struct some some = {0, 40, 1};
	struct fixture *fixture = *state;
	struct error err = {0};
	struct rlimit before;

	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	close_cache(fixture);
	assert_int_equal(cache_dir_open(fixture->path, &fixture->dir, &err), 0);
	fixture->cache = disk_cache_new(&(struct disk_cache_options){.dir = fixture->dir.dir, .limit = LIMIT, .problem = note, .arg = fixture});
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max}), 0);
	disk_cache_load(fixture->cache);
	const int r = pin_some(fixture->cache, "/b", some);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(pin_some(fixture->cache, "/b", some), 0);
	reopen(fixture);
	assert_true(missing(fixture->cache, "/a") == missing(fixture->cache, "/b"));
}

static void smaller_cache_keeps_what_is_pinned_and_nothing_else(void **state)
{
	const struct some some = {0, 200, 1};
	struct fixture *fixture = *state;
	struct disk_cache_options options = {.dir = fixture->dir.dir, .limit = 2 * LIMIT, .problem = note, .arg = fixture};

	disk_cache_free(fixture->cache);
	fixture->cache = disk_cache_new(&options);
	disk_cache_load(fixture->cache);
	for (uint32_t i = 0; i < 220; i++)
		put(fixture, i);
	assert_int_equal(pin_some(fixture->cache, "/a", some), 0);
	assert_true(disk_cache_state(fixture->cache).pinned > LIMIT);
	reopen(fixture);
	for (uint32_t i = 1000; i < 1100; i++)
		put(fixture, i);
	assert_int_equal(count_some(fixture, some), 200);
	assert_int_equal(atomic_load(&fixture->problems), 1);
}

struct worker {
	struct fixture *fixture;
	uint32_t seed;
	bool pins;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	uint32_t chance = worker->seed;

	for (unsigned i = 0; i < 800; i++) {
		chance = chance * 1664525U + 1013904223U;
		if (worker->pins && i % 20 == 0)
			assert_int_equal(pin_some(worker->fixture->cache, "/a", (struct some){i / 20, i / 20 + 40, 1}), 0);
		if (!is_there(worker->fixture, (chance >> 8) % 300))
			put(worker->fixture, (chance >> 8) % 300);
	}
	return NULL;
}

static void pins_come_and_go_while_others_read_and_write(void **state)
{
	struct worker workers[4];
	pthread_t threads[4];

	for (uint32_t i = 0; i < 4; i++) {
		workers[i] = (struct worker){*state, i + 1, i == 0};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < 100; i++)
		put(*state, i);
	assert_int_equal(disk_cache_state(((struct fixture *)*state)->cache).pinned_missing, 0);
	assert_int_equal(count_some(*state, (struct some){39, 79, 1}), 40);
	assert_true(each_file(*state, NULL) <= LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_pinned_stays_whatever_comes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_there_already_is_pinned_where_it_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_unpinned_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_more_is_pinned_than_seven_eighths, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_blob_that_is_pinned_is_pinned_when_it_comes_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_pin_is_told_and_others_hold, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_of_a_pin_is_nothing_to_the_pins_of_other_paths, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_each_pin_it_is_known_what_is_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_lets_go_waits_until_it_is_known_what_is_pinned, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_waits_for_that_is_told_that_the_cache_was_stopped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pins_that_could_not_be_read_are_not_written_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(smaller_cache_keeps_what_is_pinned_and_nothing_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pins_come_and_go_while_others_read_and_write, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
