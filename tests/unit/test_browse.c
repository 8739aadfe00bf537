/* Files of backups: the cache that threads share, directories as they stand in trees, names of backups, numbers of nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/browse/browse_dir.h"
#include "lib/browse/browse_list.h"
#include "lib/browse/browse_nodes.h"
#include "lib/browse/shared_cache.h"

/* --- the cache --- */

#define COST 100

struct maker {
	atomic_int made, freed, busy;
	int failure;
	pthread_barrier_t *meet; /* or NULL */
	bool quick;              /* even numbers are made quickly */
};

static struct maker *current;

static int make_value(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost)
{
	struct maker *maker = arg;

	assert_int_equal(atomic_fetch_add(&maker->busy, 1), 0);
	atomic_fetch_add(&maker->made, 1);
	if (maker->meet)
		usleep(20000); /* so that others come meanwhile; nothing depends on it */
	atomic_fetch_sub(&maker->busy, 1);
	if (maker->failure)
		return maker->failure;
	*ret_value = malloc(1);
	*(uint8_t *)*ret_value = id->bytes[0];
	*ret_cost = COST;
	return 0;
}

static int make_quickly(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost)
{
	return id->bytes[0] % 2 == 0 ? make_value(arg, id, ret_value, ret_cost) : -EAGAIN;
}

static void free_value(void *value)
{
	atomic_fetch_add(&current->freed, 1);
	free(value);
}

static struct blob_id number(uint8_t first)
{
	return (struct blob_id){.bytes = {first}};
}

static struct shared_cache *cache_of(struct maker *maker, size_t values)
{
	const struct shared_cache_kind kind = {make_value, maker->quick ? make_quickly : NULL, free_value, maker};

	current = maker;
	return shared_cache_new(&kind, values * COST);
}

static struct cached *get(struct shared_cache *cache, uint8_t first)
{
	const struct blob_id id = number(first);
	struct cached *cached;

	assert_int_equal(shared_cache_get(cache, &id, &cached), 0);
	assert_int_equal(*(const uint8_t *)cached_value(cached), first);
	return cached;
}

static void touch(struct shared_cache *cache, uint8_t first)
{
	shared_cache_put(cache, get(cache, first));
}

static void what_was_used_least_recently_goes_first(void **state)
{
	struct maker maker = {0};
	struct shared_cache *cache = cache_of(&maker, 2);

	(void)state;
	touch(cache, 1);
	touch(cache, 2);
	touch(cache, 1);
	assert_int_equal(atomic_load(&maker.made), 2);
	touch(cache, 3);
	assert_int_equal(atomic_load(&maker.freed), 1);
	touch(cache, 1);
	assert_int_equal(atomic_load(&maker.made), 3);
	touch(cache, 2);
	assert_int_equal(atomic_load(&maker.made), 4);
	assert_int_equal(shared_cache_cost(cache), 2 * COST);
	shared_cache_free(cache);
	assert_int_equal(atomic_load(&maker.freed), 4);
}

static void what_is_in_use_stays(void **state)
{
	struct maker maker = {0};
	struct shared_cache *cache = cache_of(&maker, 1);
	struct cached *first = get(cache, 1), *second = get(cache, 2), *again;

	(void)state;
	assert_int_equal(atomic_load(&maker.freed), 0);
	again = get(cache, 1);
	assert_ptr_equal(again, first);
	shared_cache_put(cache, first);
	shared_cache_put(cache, second);
	assert_int_equal(atomic_load(&maker.freed), 1);
	assert_int_equal(*(const uint8_t *)cached_value(again), 1);
	shared_cache_put(cache, again);
	shared_cache_put(cache, NULL);
	assert_true(shared_cache_cost(cache) <= COST);
	shared_cache_free(cache);
}

static void who_may_not_wait_gets_what_is_there_only(void **state)
{
	const struct blob_id id = number(1);
	struct maker maker = {0};
	struct shared_cache *cache = cache_of(&maker, 1);
	struct cached *cached;

	(void)state;
	assert_int_equal(shared_cache_find(cache, &id, &cached), -EAGAIN);
	assert_int_equal(atomic_load(&maker.made), 0);
	touch(cache, 1);
	assert_int_equal(shared_cache_find(cache, &id, &cached), 0);
	touch(cache, 2);
	/* It is in use. */
	assert_int_equal(*(const uint8_t *)cached_value(cached), 1);
	shared_cache_put(cache, cached);
	shared_cache_free(cache);
	assert_int_equal(atomic_load(&maker.freed), 2);
}

static void what_is_quickly_made_is_made_for_who_may_not_wait(void **state)
{
	const struct blob_id odd = number(1), even = number(2);
	struct maker maker = {.quick = true};
	struct shared_cache *cache = cache_of(&maker, 2);
	struct cached *cached;

	(void)state;
	assert_int_equal(shared_cache_find(cache, &odd, &cached), -EAGAIN);
	assert_int_equal(shared_cache_find(cache, &even, &cached), 0);
	assert_int_equal(*(const uint8_t *)cached_value(cached), 2);
	shared_cache_put(cache, cached);
	touch(cache, 1);
	touch(cache, 2);
	assert_int_equal(atomic_load(&maker.made), 2);
	shared_cache_free(cache);
}

struct waiter {
	struct shared_cache *cache;
	int result;
};

static void *wait_for_one(void *arg)
{
	struct waiter *waiter = arg;
	const struct blob_id id = number(1);
	struct cached *cached = NULL;

	waiter->result = shared_cache_get(waiter->cache, &id, &cached);
	if (waiter->result == 0) {
		assert_int_equal(*(const uint8_t *)cached_value(cached), 1);
		shared_cache_put(waiter->cache, cached);
	}
	return NULL;
}

/* Who claimed it brings it, fails, or gives it up, and then who waits makes it. */
static void what_is_claimed_is_waited_for(void **state)
{
	const int results[] = {0, -EIO, -EAGAIN};
	const struct blob_id id = number(1);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct maker maker = {0};
		struct shared_cache *cache = cache_of(&maker, 1);
		struct waiter waiter = {cache, 1};
		struct cached *claimed, *other;
		uint8_t *value = NULL;
		pthread_t thread;

		assert_false(shared_cache_has(cache, &id));
		assert_true(shared_cache_claim(cache, &id, &claimed));
		assert_true(shared_cache_has(cache, &id));
		assert_false(shared_cache_claim(cache, &id, &other));
		assert_int_equal(shared_cache_find(cache, &id, &other), -EAGAIN);
		assert_int_equal(pthread_create(&thread, NULL, wait_for_one, &waiter), 0);
		usleep(20000); /* so that it waits; nothing depends on it */
		if (results[i] == 0) {
			value = malloc(1);
			*value = 1;
		}
		shared_cache_made(cache, claimed, results[i], value, COST);
		pthread_join(thread, NULL);
		assert_int_equal(waiter.result, results[i] == -EAGAIN ? 0 : results[i]);
		assert_int_equal(shared_cache_cost(cache), results[i] == -EIO ? 0 : COST);
		assert_int_equal(atomic_load(&maker.made), results[i] == -EAGAIN ? 1 : 0);
		shared_cache_free(cache);
	}
}

static void failures_are_not_kept(void **state)
{
	const struct blob_id id = number(1);
	struct maker maker = {.failure = -EBADMSG};
	struct shared_cache *cache = cache_of(&maker, 4);
	struct cached *cached;

	(void)state;
	assert_int_equal(shared_cache_get(cache, &id, &cached), -EBADMSG);
	assert_int_equal(shared_cache_cost(cache), 0);
	maker.failure = 0;
	touch(cache, 1);
	assert_int_equal(atomic_load(&maker.made), 2);
	shared_cache_free(cache);
}

struct asker {
	struct shared_cache *cache;
	pthread_barrier_t *meet;
	int result;
};

static void *ask(void *arg)
{
	struct asker *asker = arg;
	const struct blob_id id = number(7);
	struct cached *cached = NULL;

	pthread_barrier_wait(asker->meet);
	asker->result = shared_cache_get(asker->cache, &id, &cached);
	if (asker->result == 0)
		shared_cache_put(asker->cache, cached);
	return NULL;
}

/* Each maker asserts that it is alone; and all get the same answer, good or bad. */
static void what_several_ask_for_at_once_is_made_once(void **state)
{
	enum { ASKERS = 8 };

	(void)state;
	for (int failure = 0; failure >= -EIO; failure -= EIO) {
		struct asker askers[ASKERS];
		pthread_t threads[ASKERS];
		pthread_barrier_t meet;
		struct maker maker = {.failure = failure, .meet = &meet};
		struct shared_cache *cache = cache_of(&maker, 1);

		pthread_barrier_init(&meet, NULL, ASKERS);
		for (size_t i = 0; i < ASKERS; i++) {
			askers[i] = (struct asker){cache, &meet, 1};
			assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
		}
		for (size_t i = 0; i < ASKERS; i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(askers[i].result, failure);
		}
		if (failure == 0)
			assert_int_equal(atomic_load(&maker.made), 1);
		pthread_barrier_destroy(&meet);
		shared_cache_free(cache);
	}
}

/* --- directories --- */

static struct browse_dir *dir_of(const char *json)
{
	struct browse_dir *dir;
	size_t cost = 0;

	assert_int_equal(browse_dir_new(json, strlen(json), &dir, &cost), 0);
	assert_true(cost > 0);
	return dir;
}

static void names_that_lead_elsewhere_and_unknown_types_are_left_out(void **state)
{
	struct browse_dir *dir = dir_of("{\"nodes\":[{\"name\":\"z\",\"type\":\"file\",\"mode\":420},{\"name\":\"..\",\"type\":\"dir\",\"mode\":2147484141},"
	                                "{\"name\":\"a/b\",\"type\":\"file\",\"mode\":420},{\"name\":\"what\",\"type\":\"irregular\",\"mode\":524708},"
	                                "{\"name\":\"a\",\"type\":\"file\",\"mode\":420}]}");
	size_t position;

	(void)state;
	assert_int_equal(browse_dir_count(dir), 2);
	/* They were not in their order. */
	assert_int_equal(browse_dir_find(dir, "a", &position), 0);
	assert_string_equal(browse_dir_node(dir, position)->name, "a");
	assert_int_equal(browse_dir_find(dir, "z", &position), 0);
	assert_string_equal(browse_dir_node(dir, position)->name, "z");
	assert_int_equal(browse_dir_find(dir, "b", &position), -ENOENT);
	assert_int_equal(browse_dir_find(dir, "..", &position), -ENOENT);
	assert_null(browse_dir_node(dir, 2));
	browse_dir_free(dir);
}

static void what_is_no_tree_is_refused(void **state)
{
	struct browse_dir *dir;
	size_t cost;

	(void)state;
	assert_int_equal(browse_dir_new("{\"nodes\":[", 10, &dir, &cost), -EBADMSG);
}

/* Blobs are as long as their first byte says; of 0xff nobody knows it. */
static int length(struct blob_source *source, const struct blob_id *id, bool is_tree, uint64_t *ret_len)
{
	(void)source;
	(void)is_tree;
	*ret_len = id->bytes[0];
	return id->bytes[0] == 0xff ? -ENOENT : 0;
}

#define ZEROS_53 "00000000000000000000000000000000000000000000000000000"
#define ZEROS_62 "00000000000000000000000000000000000000000000000000000000000000"

static void layout_ends_where_a_length_is_not_known(void **state)
{
	struct blob_source source = {.length = length};
	struct browse_dir *dir = dir_of("{\"nodes\":[{\"name\":\"f\",\"type\":\"file\",\"mode\":420,\"size\":100,\"content\":["
	                                "\"05" ZEROS_62 "\",\"00" ZEROS_62 "\",\"07" ZEROS_62 "\",\"ff" ZEROS_62 "\",\"01" ZEROS_62 "\"]}]}");
	const struct browse_layout *layout = browse_dir_layout(dir, 0, &source);

	(void)state;
	assert_int_equal(layout->count, 4);
	assert_int_equal(layout->begins[1], 5);
	assert_int_equal(layout->begins[2], 5);
	assert_int_equal(layout->begins[3], 12);
	assert_ptr_equal(browse_dir_layout(dir, 0, &source), layout);
	browse_dir_free(dir);
}

/* --- names of backups --- */

static struct snapshot_file taken(const char *name, int64_t seconds)
{
	struct snapshot_file snapshot = {.time = {.tv_sec = seconds}};

	(void)snprintf(snapshot.name, sizeof(snapshot.name), "%s", name);
	return snapshot;
}

static void assert_names(struct browse_list *list, size_t number, const char *name, const char *time)
{
	assert_string_equal(browse_list_get(list, number)->name, name);
	assert_string_equal(browse_list_get(list, number)->time, time);
}

static void names_are_as_long_as_tells_them_apart_and_stay(void **state)
{
	struct snapshot_files snapshots = {0};
	struct browse_list *list = browse_list_new();
	size_t at;

	(void)state;
	array_add(&snapshots, taken("aaaaaaaaaa1" ZEROS_53, 0));
	array_add(&snapshots, taken("bbbbbbbbbbb" ZEROS_53, 10));
	array_add(&snapshots, taken("aaaaaaaaaa2" ZEROS_53, 10));
	browse_list_add(list, &snapshots);
	assert_names(list, 0, "aaaaaaaaaa1", "1970-01-01T00:00:00Z");
	assert_names(list, 1, "bbbbbbbb", "1970-01-01T00:00:10Z-bbbbbbbb");
	assert_names(list, 2, "aaaaaaaaaa2", "1970-01-01T00:00:10Z-aaaaaaaaaa2");
	assert_int_equal(browse_list_find(list, "bbbbbbbb", false, &at), 0);
	assert_int_equal(at, 1);
	assert_int_equal(browse_list_find(list, "1970-01-01T00:00:00Z", true, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(browse_list_find(list, "bbbbbbbb", true, &at), -ENOENT);
	assert_int_equal(browse_list_newest(list), 2);

	/* One comes that was taken before the others. */
	array_add(&snapshots, taken("bbbbbbbbbbc" ZEROS_53, 0));
	browse_list_add(list, &snapshots);
	assert_int_equal(browse_list_count(list), 4);
	assert_names(list, 0, "aaaaaaaaaa1", "1970-01-01T00:00:00Z");
	assert_names(list, 1, "bbbbbbbb", "1970-01-01T00:00:10Z-bbbbbbbb");
	assert_names(list, 3, "bbbbbbbbbbc", "1970-01-01T00:00:00Z-bbbbbbbbbbc");
	assert_int_equal(browse_list_newest(list), 2);
	assert_true(browse_list_has(list, "bbbbbbbbbbc" ZEROS_53));
	assert_false(browse_list_has(list, "bbbbbbbbbbc"));
	browse_list_free(list);
}

/* --- nodes --- */

static void a_name_is_one_node_until_it_is_forgotten(void **state)
{
	struct browse_nodes *nodes = browse_nodes_new();
	const struct browse_place place = {.position = 3, .ino = 77}, other = {.position = 4};
	struct browse_place found;
	const uint64_t id = browse_nodes_take(nodes, 1, &place);

	(void)state;
	assert_int_equal(browse_nodes_take(nodes, 1, &place), id);
	assert_int_not_equal(browse_nodes_take(nodes, 2, &place), id);
	assert_int_not_equal(browse_nodes_take(nodes, 1, &other), id);
	assert_int_equal(browse_nodes_count(nodes), 3);
	browse_nodes_forget(nodes, id, 1);
	assert_int_equal(browse_nodes_get(nodes, id, &found), 0);
	assert_int_equal(found.ino, 77);
	browse_nodes_forget(nodes, id, 1);
	assert_int_equal(browse_nodes_get(nodes, id, &found), -ESTALE);
	browse_nodes_forget(nodes, id, 1);
	assert_int_not_equal(browse_nodes_take(nodes, 1, &place), id);
	browse_nodes_free(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_used_least_recently_goes_first),
		cmocka_unit_test(what_is_in_use_stays),
		cmocka_unit_test(who_may_not_wait_gets_what_is_there_only),
		cmocka_unit_test(what_is_quickly_made_is_made_for_who_may_not_wait),
		cmocka_unit_test(what_is_claimed_is_waited_for),
		cmocka_unit_test(failures_are_not_kept),
		cmocka_unit_test(what_several_ask_for_at_once_is_made_once),
		cmocka_unit_test(names_that_lead_elsewhere_and_unknown_types_are_left_out),
		cmocka_unit_test(what_is_no_tree_is_refused),
		cmocka_unit_test(layout_ends_where_a_length_is_not_known),
		cmocka_unit_test(names_are_as_long_as_tells_them_apart_and_stay),
		cmocka_unit_test(a_name_is_one_node_until_it_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
