/* Blobs that are read together, and packs that are kept open for it: in several threads, next to what is damaged or made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/repository/fetch.h"
#include "lib/repository/open_packs.h"
#include "tests/unit/blob_contents.h"

#define BLOBS 100

struct fixture {
	struct repository_place place;
	struct content contents[BLOBS];
	struct pool *pool;
};

static int set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));

	repository_place_make(&fixture->place);
	for (uint32_t i = 0; i < BLOBS; i++)
		content_make(&fixture->contents[i], i);
	contents_write(fixture->place.repository, fixture->contents, BLOBS);
	fixture->pool = pool_new(3);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	pool_free(fixture->pool);
	repository_place_clear(&fixture->place);
	free(fixture);
	return 0;
}

static int find(struct fetch *fetch, const struct content *content)
{
	const void *data;
	size_t len;
	int r = fetch_find(fetch, &content->id, &data, &len);

	if (r == 1) {
		assert_int_equal(len, LEN);
		assert_memory_equal(data, content->bytes, LEN);
	}
	return r;
}

/* All of them, as often as it takes; those that could not be had. */
static size_t fetch_all(struct fixture *fixture, struct fetch *fetch)
{
	size_t i = 0, lost = 0;

	while (i < BLOBS) {
		const size_t first = i;

		fetch_begin(fetch);
		while (i < BLOBS && fetch_add(fetch, &fixture->contents[i].id))
			i++;
		assert_true(i > first);
		fetch_run(fetch);
		for (size_t j = first; j < i; j++)
			lost += find(fetch, &fixture->contents[j]) < 0;
	}
	return lost;
}

static void *fetch_main(void *arg)
{
	struct fixture *fixture = arg;
	struct fetch *fetch = fetch_new(fixture->place.repository, fixture->pool);

	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(fetch_all(fixture, fetch), 0);
	fetch_free(fetch);
	return NULL;
}

static void test_several_threads_fetch_from_the_same_packs(void **state)
{
	struct fixture *fixture = *state;
	pthread_t threads[3];

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fetch_main, fixture), 0);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static void test_without_a_pool_and_in_any_order_the_same_comes(void **state)
{
	struct fixture *fixture = *state;
	struct fetch *fetch = fetch_new(fixture->place.repository, NULL);

	fetch_begin(fetch);
	for (size_t i = 0; i < BLOBS; i++)
		assert_true(fetch_add(fetch, &fixture->contents[BLOBS - 1 - i].id));
	fetch_run(fetch);
	for (size_t i = 0; i < BLOBS; i++)
		assert_int_equal(find(fetch, &fixture->contents[i * 37 % BLOBS]), 1);
	fetch_free(fetch);
}

static void test_what_was_not_added_is_not_there(void **state)
{
	struct fixture *fixture = *state;
	struct fetch *fetch = fetch_new(fixture->place.repository, fixture->pool);
	const struct blob_id unknown = {.bytes = {1, 2, 3}};

	fetch_begin(fetch);
	fetch_run(fetch);
	assert_int_equal(find(fetch, &fixture->contents[0]), 0);
	assert_false(fetch_add(fetch, &unknown));
	assert_true(fetch_add(fetch, &fixture->contents[1].id));
	assert_true(fetch_add(fetch, &fixture->contents[1].id));
	fetch_run(fetch);
	assert_int_equal(find(fetch, &fixture->contents[1]), 1);
	assert_int_equal(find(fetch, &fixture->contents[2]), 0);
	fetch_free(fetch);
}

static void rewrite(const char *path, off_t offset, const void *bytes, size_t len)
{
	int fd;

	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, offset), len);
	close(fd);
}

static void pack_path(const struct fixture *fixture, const struct blob_id *pack, char out[600])
{
	char name[BLOB_ID_TEXT];

	blob_id_text(pack, name);
	snprintf(out, 600, "%s/data/%.2s/%s", fixture->place.path, name, name);
}

static void test_damaged_blob_is_not_found_and_its_neighbours_are(void **state)
{
	struct fixture *fixture = *state;
	struct fetch *fetch = fetch_new(fixture->place.repository, fixture->pool);
	struct blob_place place;
	char path[600];

	assert_true(blob_index_find(fixture->place.repository->index, &fixture->contents[40].id, false, 0, &place));
	pack_path(fixture, &place.pack, path);
	rewrite(path, place.blob.offset + 20, "damaged", 7);
	assert_int_equal(fetch_all(fixture, fetch), 1);
	fetch_begin(fetch);
	assert_true(fetch_add(fetch, &fixture->contents[40].id));
	fetch_run(fetch);
	assert_int_equal(find(fetch, &fixture->contents[40]), -EBADMSG);
	fetch_free(fetch);
}

static void test_pack_that_is_cut_off_or_gone_loses_what_was_in_it(void **state)
{
	struct fixture *fixture = *state;
	struct fetch *fetch = fetch_new(fixture->place.repository, fixture->pool);
	struct blob_place place;
	char path[600];

	assert_true(blob_index_find(fixture->place.repository->index, &fixture->contents[0].id, false, 0, &place));
	pack_path(fixture, &place.pack, path);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(fetch_all(fixture, fetch), BLOBS);
	fetch_free(fetch);
}

static unsigned asked;
static int (*get_whole)(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out);
static unsigned pause_us;

static int fail_first(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	if (asked++ > 0)
		return get_whole(objects, kind, name, offset, len, out);
	usleep(pause_us);
	return -EIO;
}

/* What one run could not have at once, others may; who waited for long asks no more. */
static void test_failure_is_of_its_run_unless_it_took_long(void **state)
{
	static const unsigned wanted[] = {0, 50, 99};
	struct fixture *fixture = *state;
	struct objects *objects = fixture->place.repository->objects;
	const struct objects_place *place = objects->place;
	struct objects_place failing = *place;
	struct fetch *fetch = fetch_new(fixture->place.repository, fixture->pool);

	get_whole = place->get;
	failing.get = fail_first;
	objects->place = &failing;
	for (unsigned is_long = 0; is_long < 2; is_long++) {
		unsigned found = 0, said = 0;
		uint64_t took;

		pause_us = is_long ? FETCH_LONG_US : 0;
		do {
			asked = 0;
			fetch_begin(fetch);
			for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
				assert_true(fetch_add(fetch, &fixture->contents[wanted[i]].id));
			took = clock_us();
			fetch_run(fetch);
			took = clock_us() - took;
		} while (!is_long && took >= FETCH_LONG_US); /* a machine that rests for so long makes any call a long one */
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
			const int r = find(fetch, &fixture->contents[wanted[i]]);

			found += r == 1;
			said += r == -EIO;
		}
		assert_int_equal(asked, is_long ? 1 : 3);
		assert_int_equal(found, is_long ? 0 : 2);
		assert_int_equal(said, is_long ? 3 : 0);
	}
	objects->place = place;
	fetch_free(fetch);
}

/* An index file that somebody made up: blobs that overlap, that are longer than memory should have, that end behind every pack. */
static void test_places_that_are_made_up_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct repository *repository = fixture->place.repository;
	struct fetch *fetch = fetch_new(repository, fixture->pool);
	struct blob_place place;
	struct pack_blob made_up[4];

	assert_true(blob_index_find(repository->index, &fixture->contents[0].id, false, 0, &place));
	for (size_t i = 0; i < 4; i++)
		made_up[i] = (struct pack_blob){.id.bytes = {9, (uint8_t)i}, .offset = 10 + (uint32_t)i, .length = 5000, .plain = i ? 8000 : 0};
	made_up[2].offset = UINT32_MAX - 10;
	made_up[3].plain = FETCH_BYTES + 1;
	blob_index_free(repository->index);
	repository->index = blob_index_new();
	blob_index_add(repository->index, &place.pack, made_up, 4);
	fetch_begin(fetch);
	for (size_t i = 0; i < 3; i++)
		assert_true(fetch_add(fetch, &made_up[i].id));
	assert_false(fetch_add(fetch, &made_up[3].id));
	fetch_run(fetch);
	for (size_t i = 0; i < 3; i++) {
		const struct content content = {.id = made_up[i].id};

		assert_true(find(fetch, &content) < 0);
	}
	fetch_free(fetch);
}

/* --- packs that are kept open --- */

static int opened;

static int open_one(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	opened++;
	return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_pack_is_opened_once_and_the_oldest_gives_way(void **state)
{
	struct open_packs *packs = open_packs_new();
	char name[16];

	opened = 0;
	for (unsigned turn = 0; turn < 3; turn++)
		open_packs_give(packs, open_packs_take(packs, "a", open_one, NULL));
	assert_int_equal(opened, 1);
	for (unsigned i = 0; i < OPEN_PACKS; i++) {
		snprintf(name, sizeof(name), "%u", i);
		open_packs_give(packs, open_packs_take(packs, name, open_one, NULL));
	}
	assert_int_equal(opened, 1 + OPEN_PACKS);
	open_packs_give(packs, open_packs_take(packs, "0", open_one, NULL));
	assert_int_equal(opened, 1 + OPEN_PACKS);
	open_packs_give(packs, open_packs_take(packs, "a", open_one, NULL));
	assert_int_equal(opened, 2 + OPEN_PACKS);
	open_packs_free(packs);
}

static void test_pack_in_use_stays_open_when_there_are_more_or_it_is_forgotten(void **state)
{
	struct open_packs *packs = open_packs_new();
	int fds[OPEN_PACKS + 1];
	char name[16];

	for (unsigned i = 0; i <= OPEN_PACKS; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fds[i] = open_packs_take(packs, name, open_one, NULL);
		assert_true(fds[i] >= 0);
	}
	open_packs_forget(packs, "0");
	for (unsigned i = 0; i <= OPEN_PACKS; i++)
		assert_true(is_open(fds[i]));
	open_packs_give(packs, fds[0]);
	open_packs_give(packs, fds[OPEN_PACKS]);
	assert_false(is_open(fds[0]));
	assert_false(is_open(fds[OPEN_PACKS]));
	opened = 0;
	open_packs_give(packs, open_packs_take(packs, "0", open_one, NULL));
	assert_int_equal(opened, 1);
	for (unsigned i = 1; i < OPEN_PACKS; i++)
		open_packs_give(packs, fds[i]);
	open_packs_free(packs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_several_threads_fetch_from_the_same_packs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_a_pool_and_in_any_order_the_same_comes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_was_not_added_is_not_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_blob_is_not_found_and_its_neighbours_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pack_that_is_cut_off_or_gone_loses_what_was_in_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failure_is_of_its_run_unless_it_took_long, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_places_that_are_made_up_are_refused, set_up, tear_down),
		cmocka_unit_test(test_pack_is_opened_once_and_the_oldest_gives_way),
		cmocka_unit_test(test_pack_in_use_stays_open_when_there_are_more_or_it_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
