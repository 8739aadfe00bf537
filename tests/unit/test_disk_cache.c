/* The cache of blobs on a local disk: what comes out is what went in, or nothing, whatever became of its files; and it never outgrows its limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/resource.h>

#include "lib/base/file.h"
#include "tests/unit/cached_place.h"

/* --- what it holds --- */

static void what_was_kept_is_there_also_later(void **state)
{
	struct fixture *fixture = *state;
	struct content content;
	AUTO_BUF plain = BUF_INIT;

	assert_int_equal(count_there(fixture, 0, 50), 0);
	for (uint32_t i = 0; i < 50; i++)
		put(fixture, i);
	assert_int_equal(count_there(fixture, 0, 50), 50);
	/* A tree of the same name is another thing. */
	make(&content, 1);
	assert_true(disk_cache_has(fixture->cache, &content.id, false));
	assert_false(disk_cache_has(fixture->cache, &content.id, true));
	assert_int_equal(disk_cache_get(fixture->cache, &content.id, true, &plain), -ENOENT);
	disk_cache_put(fixture->cache, &content.id, true, content.bytes, content.len);
	for (int i = 0; i < 3; i++) {
		reopen(fixture);
		assert_int_equal(count_there(fixture, 0, 50), 50);
		assert_int_equal(disk_cache_get(fixture->cache, &content.id, true, &plain), 0);
		put(fixture, 50 + (uint32_t)i);
	}
	assert_int_equal(count_there(fixture, 50, 53), 3);
	assert_int_equal(atomic_load(&fixture->problems), 0);
	/* Who comes again and again goes on in the same file. */
	assert_true(each_file(fixture, NULL) < 53 * LEN_MAX);
}

static void nothing_is_kept_twice(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before;

	put(fixture, 1);
	before = disk_cache_state(fixture->cache).bytes;
	put(fixture, 1);
	assert_int_equal(disk_cache_state(fixture->cache).bytes, before);
	assert_int_equal(disk_cache_state(fixture->cache).blobs, 1);
}

static void it_never_outgrows_its_limit(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < 600; i++) {
		put(fixture, i);
		assert_true(each_file(fixture, NULL) <= LIMIT);
		assert_true(is_there(fixture, i));
	}
	assert_true(each_file(fixture, NULL) > LIMIT / 2);
	assert_int_equal(each_file(fixture, NULL), disk_cache_state(fixture->cache).bytes);
	assert_true(disk_cache_state(fixture->cache).evicted > 0);
	reopen(fixture);
	assert_true(is_there(fixture, 599));
	assert_int_equal(each_file(fixture, NULL), disk_cache_state(fixture->cache).bytes);
}

/* Not what a link leads to. */
static void spoil_at(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW);
	uint8_t byte;

	if (fd < 0 && errno == ELOOP)
		return;
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void spoil_records(const char *path, uint64_t size, unsigned number)
{
	for (off_t at = 16 + 16 * 16 + number; at < (off_t)size; at += 3000)
		spoil_at(path, at);
}

/* Of which none has the bytes of another. */
static uint32_t count_seventh(struct fixture *fixture, uint32_t to)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i < to; i += 7)
		count += is_there(fixture, i);
	return count;
}

static void number_of_blobs_is_known(void **state)
{
	struct fixture *fixture = *state;
	uint32_t first, there;

	for (uint32_t i = 1; i < 3000; i += 7)
		put(fixture, i);
	there = count_seventh(fixture, 3000);
	assert_true(there < 3000 / 7);
	assert_int_equal(disk_cache_state(fixture->cache).blobs, there);
	reopen(fixture);
	assert_int_equal(disk_cache_state(fixture->cache).blobs, there);
	each_file(fixture, spoil_records);
	first = count_seventh(fixture, 3000);
	assert_true(first < there);
	assert_int_equal(disk_cache_state(fixture->cache).blobs, first);
}

static void what_is_read_stays(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < 2000; i++) {
		put(fixture, i);
		assert_true(is_there(fixture, 1 <= i ? 1 : 0));
	}
	assert_true(count_there(fixture, 2, 2000) < 1000);
}

/* The directory is another's then. */
static void cache_that_was_stopped_touches_nothing(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before;

	put(fixture, 1);
	before = each_file(fixture, NULL);
	disk_cache_stop(fixture->cache);
	put(fixture, 2);
	disk_cache_load(fixture->cache);
	assert_int_equal(count_there(fixture, 1, 3), 0);
	assert_int_equal(each_file(fixture, NULL), before);
	reopen(fixture);
	assert_true(is_there(fixture, 1));
}

static void what_is_larger_than_it_holds_is_not_kept(void **state)
{
	struct fixture *fixture = *state;
	const struct blob_id id = {.bytes = {1}};
	AUTO_FREE uint8_t *large = xcalloc(1, LIMIT);

	disk_cache_put(fixture->cache, &id, false, large, LIMIT);
	assert_int_equal(each_file(fixture, NULL), 0);
}

/* --- damage --- */

static void cut(const char *path, uint64_t size, unsigned number)
{
	(void)number;
	assert_int_equal(truncate(path, (off_t)(size / 2)), 0);
}

static void empty(const char *path, uint64_t size, unsigned number)
{
	(void)size;
	(void)number;
	assert_int_equal(truncate(path, 0), 0);
}

#define ELSEWHERE_BYTES 100000U
static char elsewhere[] = "/tmp/corpusfs-test-XXXXXX"; /* a file that is not the cache's */

static void make_elsewhere(void)
{
	int fd = mkstemp(elsewhere);

	assert_true(fd >= 0);
	for (uint32_t i = 0; i < ELSEWHERE_BYTES; i += sizeof(i))
		assert_int_equal(write(fd, &i, sizeof(i)), sizeof(i));
	close(fd);
}

static void check_elsewhere(void)
{
	AUTO_BUF bytes = BUF_INIT;

	assert_int_equal(file_read(elsewhere, ELSEWHERE_BYTES, &bytes), 0);
	assert_int_equal(bytes.len, ELSEWHERE_BYTES);
	for (uint32_t i = 0; i < ELSEWHERE_BYTES; i += sizeof(i))
		assert_memory_equal(bytes.data + i, &i, sizeof(i));
	assert_int_equal(unlink(elsewhere), 0);
}

static void lead_elsewhere(const char *path, uint64_t size, unsigned number)
{
	(void)size;
	(void)number;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
}

static void spoil_magic(const char *path, uint64_t size, unsigned number)
{
	(void)size;
	spoil_at(path, number % 2);
}

static void spoil_slots(const char *path, uint64_t size, unsigned number)
{
	(void)size;
	spoil_at(path, 8 + number % 4);
}

static void spoil_table(const char *path, uint64_t size, unsigned number)
{
	(void)size;
	for (off_t at = 16 + number % 16; at < 16 + 16 * 4; at += 16)
		spoil_at(path, at);
}

/* So few that what is damaged goes before what is not. */
#define KEPT 40U

static void damage_is_never_given_out_and_is_replaced(void **state)
{
	void (*const ways[])(const char *, uint64_t, unsigned) = {cut, empty, lead_elsewhere, spoil_magic, spoil_slots, spoil_table, spoil_records};
	struct fixture *fixture = *state;

	make_elsewhere();
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++)
		for (int open = 0; open < 2; open++) {
			for (uint32_t i = 0; i < KEPT; i++)
				put(fixture, i);
			assert_int_equal(count_there(fixture, 0, KEPT), KEPT);
			if (!open)
				close_cache(fixture);
			each_file(fixture, ways[way]);
			if (!open)
				open_cache(fixture);
			/* Of what it has in memory, or was not touched, much may be there. */
			assert_true(count_there(fixture, 0, KEPT) < KEPT || open);
			for (uint32_t i = 0; i < KEPT; i++)
				put(fixture, i);
			assert_int_equal(count_there(fixture, 0, KEPT), KEPT);
			assert_true(each_file(fixture, NULL) <= LIMIT + 64 * 25); /* and the lengths of links */
		}
	check_elsewhere();
}

static void any_byte_may_change(void **state)
{
	struct fixture *fixture = *state;
	uint32_t chance = 7;

	for (unsigned round = 0; round < 60; round++) {
		char path[400];

		for (uint32_t i = 0; i < 20; i++)
			put(fixture, i);
		close_cache(fixture);
		snprintf(path, sizeof(path), "%s/00000001", fixture->path);
		for (unsigned i = 0; i < 8; i++) {
			chance = chance * 1664525U + 1013904223U;
			struct stat st;

			if (stat(path, &st) == 0 && st.st_size > 0)
				spoil_at(path, (off_t)((chance >> 8) % (i < 4 ? 400 : (uint64_t)st.st_size)));
		}
		open_cache(fixture);
		(void)count_there(fixture, 0, 20);
	}
	for (uint32_t i = 0; i < 20; i++)
		put(fixture, i);
	assert_int_equal(count_there(fixture, 0, 20), 20);
}

/* As when too many files are open. */
static void what_cannot_be_opened_now_is_there_later(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit limit, few;
	uint64_t bytes;
	int next;

	for (uint32_t i = 0; i < KEPT; i++)
		put(fixture, i);
	bytes = each_file(fixture, NULL);
	close_cache(fixture);
	assert_int_equal(cache_dir_open(fixture->path, &fixture->dir, &(struct error){0}), 0);
	fixture->cache = disk_cache_new(&(struct disk_cache_options){.dir = fixture->dir.dir, .limit = LIMIT, .problem = note, .arg = fixture});
	next = dup(fixture->dir.dir);
	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = (rlim_t)next + 1; /* room for the list alone */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	disk_cache_load(fixture->cache);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(disk_cache_state(fixture->cache).bytes, bytes);
	assert_int_equal(each_file(fixture, NULL), bytes);
	reopen(fixture);
	assert_int_equal(count_there(fixture, 0, KEPT), KEPT);
}

static void what_is_not_its_own_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	char path[100];

	close_cache(fixture);
	snprintf(path, sizeof(path), "%s/0000000A", fixture->path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	open_cache(fixture);
	assert_int_equal(access(path, F_OK), 0);
}

/* --- several at once --- */

struct worker {
	struct fixture *fixture;
	uint32_t seed;
	uint32_t found;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	uint32_t chance = worker->seed;

	for (unsigned i = 0; i < 1500; i++) {
		chance = chance * 1664525U + 1013904223U;
		if (is_there(worker->fixture, (chance >> 8) % 300))
			worker->found++;
		else
			put(worker->fixture, (chance >> 8) % 300);
	}
	return NULL;
}

/* There is room for less than half of it. */
static void readers_and_writers_go_together(void **state)
{
	struct worker workers[6];
	pthread_t threads[6];

	for (uint32_t i = 0; i < 6; i++) {
		workers[i] = (struct worker){*state, i + 1, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		assert_true(workers[i].found > 0);
	}
	assert_true(each_file(*state, NULL) <= LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_kept_is_there_also_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_kept_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_never_outgrows_its_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(number_of_blobs_is_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_read_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cache_that_was_stopped_touches_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_larger_than_it_holds_is_not_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_is_never_given_out_and_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(any_byte_may_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_opened_now_is_there_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_its_own_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(readers_and_writers_go_together, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
