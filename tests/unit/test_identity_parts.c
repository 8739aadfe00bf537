/* What is computed anew, and what is taken from what is stored. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_store.h"

#define DEPTH 3
#define KEPT 6

static void test_cost_follows_what_changed(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct setattr mode = {.mask = SET_MODE, .mode = 0600};
	uint8_t first[IDENTITY_LEN], same[IDENTITY_LEN], other[IDENTITY_LEN];
	struct attr attr;

	fill(store);
	struct identity_cost cost = taken(store, "v1", first);
	assert_false(cost.partial);
	assert_int_equal(cost.directories, 11);
	assert_int_equal(cost.nodes, 200);
	cost = taken(store, "v2", same);
	assert_true(cost.partial);
	assert_int_equal(cost.directories + cost.nodes + cost.contents, 0);
	assert_memory_equal(first, same, IDENTITY_LEN);

	struct view *view = head(store, "data");
	put(view, "d3", "f2", "changed");
	cost = taken(store, "v3", other);
	assert_memory_not_equal(first, other, IDENTITY_LEN);
	assert_true(cost.partial);
	assert_int_equal(cost.directories, 2);
	assert_int_equal(cost.nodes, 1);
	assert_int_equal(cost.contents, 1);

	/* attributes alone: no content is read */
	assert_int_equal(view_setattr(view, at(view, "d3/f2"), &mode, &attr), 0);
	cost = taken(store, "v4", other);
	assert_int_equal(cost.nodes, 1);
	assert_int_equal(cost.contents, 0);

	/* a new directory in a directory: it, and those above */
	make(view, "d5", "sub", S_IFDIR | 0700, NULL);
	cost = taken(store, "v5", other);
	assert_int_equal(cost.directories, 3);
	assert_int_equal(cost.nodes, 0);
	store_view_put(store, view);
}

static bool never(void *arg)
{
	(*(unsigned *)arg)++;
	return false;
}

static bool always(void *arg)
{
	return true;
}

static void test_background_does_one_after_the_other(void **state)
{
	struct place *place = *state;
	uint8_t identity[IDENTITY_LEN];
	unsigned polls = 0;
	struct view *view;

	fill(place->store);
	take(place->store, "data", "v1");
	take(place->store, "data", "v2");
	assert_int_equal(identity_step(place->store, always, NULL), -ECANCELED);
	assert_int_equal(identity_step(place->store, never, &polls), 1);
	assert_true(polls > 0);
	assert_int_equal(store_snapshot(place->store, "data", "v1", &view), 0);
	assert_int_equal(identity_known(place->store, view, identity), 0);
	store_view_put(place->store, view);
	assert_int_equal(identity_step(place->store, NULL, NULL), 1);
	assert_int_equal(identity_step(place->store, NULL, NULL), 0);
	place_reopen(place);
	assert_int_equal(identity_step(place->store, NULL, NULL), 0);
	(void)check(place->store, "data@v2", NULL);
}

static bool destroy_v1(void *arg)
{
	struct error err;
	struct snapshot_info info;

	if (snapshot_get(arg, "data", "v1", &info) == 0) {
		snapshot_info_clear(&info);
		assert_int_equal(snapshot_destroy(arg, "data", "v1", &err), 0);
	}
	return false;
}

static void test_snapshot_may_be_destroyed_while_it_is_computed(void **state)
{
	struct place *place = *state;
	uint64_t keys = count_keys(place->store, KV_CATALOG);

	fill(place->store);
	take(place->store, "data", "v1");
	assert_int_equal(identity_step(place->store, destroy_v1, place->store), 1);
	collect(place->store, true, false);
	/* the counter of snapshots and the collector's own state may be new; no digest is left */
	assert_in_range(count_keys(place->store, KV_CATALOG), keys, keys + 3);
	assert_int_equal(identity_step(place->store, NULL, NULL), 0);
}

static void test_digests_of_the_destroyed_are_removed(void **state)
{
	struct place *place = *state;
	struct error err;

	fill(place->store);
	struct view *view = head(place->store, "data");
	for (unsigned i = 0; i < 5; i++) {
		char name[16];
		snprintf(name, sizeof(name), "v%u", i);
		put(view, "d1", "f2", name);
		(void)taken(place->store, name, NULL);
	}
	store_view_put(place->store, view);
	for (unsigned i = 1; i < 5; i++) {
		char name[16];
		snprintf(name, sizeof(name), "v%u", i);
		assert_int_equal(snapshot_destroy(place->store, "data", name, &err), 0);
	}
	collect(place->store, false, false);
	uint64_t keys = count_keys(place->store, KV_CATALOG);
	struct identity_cost cost = taken(place->store, "again", NULL);
	assert_true(cost.partial);
	assert_int_equal(cost.directories, 2);
	/* one snapshot, its identity and its three new digests */
	assert_in_range(count_keys(place->store, KV_CATALOG), keys, keys + 5);
	assert_int_equal(dataset_destroy(place->store, "data", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	collect(place->store, false, false);
	struct kv_iter *iter = kv_iter_new(store_kv(place->store), KV_CATALOG, "H", 1, "I", 1);
	kv_iter_first(iter);
	assert_false(kv_iter_valid(iter));
	kv_iter_free(iter);
}

/* "dX/dY/", up to DEPTH, some of which may not be there. */
static void random_dir(uint64_t *random, char *out, size_t size)
{
	unsigned depth = (unsigned)(next_random(random) % (DEPTH + 1));
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < depth; i++)
		len += (size_t)snprintf(out + len, size - len, "%sd%u", i ? "/" : "", (unsigned)(next_random(random) % 3));
}

static void random_change(struct view *view, uint64_t *random)
{
	char dir[64], other[64], name[8], to[8];
	struct attr in, into, attr;
	unsigned which = (unsigned)(next_random(random) % 12);
	int result = 0;

	random_dir(random, dir, sizeof(dir));
	random_dir(random, other, sizeof(other));
	if (view_resolve(view, dir, &in) < 0 || view_resolve(view, other, &into) < 0 || !S_ISDIR(in.mode) || !S_ISDIR(into.mode))
		return;
	snprintf(name, sizeof(name), "%c%u", next_random(random) % 3 ? 'f' : 'd', (unsigned)(next_random(random) % 3));
	snprintf(to, sizeof(to), "%c%u", name[0], (unsigned)(next_random(random) % 3));
	bool there = view_lookup(view, in.ino, name, &attr) == 0;

	if (which < 3 && name[0] == 'd' && !there) {
		make(view, dir, name, S_IFDIR | 0755, NULL);
	} else if (which < 5 && name[0] == 'f' && (!there || S_ISREG(attr.mode))) {
		uint8_t data[9000];
		size_t len = 1 + next_random(random) % sizeof(data);
		fill_random(next_random(random) % 20, data, len);
		write_file(view, in.ino, name, next_random(random) % 5000, data, len);
	} else if (which == 5 && there) {
		struct setattr mode = {.mask = SET_MODE, .mode = 0700 + (uint32_t)(next_random(random) % 64)};
		assert_int_equal(view_setattr(view, attr.ino, &mode, &attr), 0);
	} else if (which == 6 && there) {
		result = S_ISDIR(attr.mode) ? view_rmdir(view, in.ino, name) : view_unlink(view, in.ino, name);
	} else if (which < 9) {
		result = view_rename(view, in.ino, name, into.ino, to, 0);
	} else if (which == 9 && there && !S_ISDIR(attr.mode)) {
		result = view_link(view, attr.ino, into.ino, to, &attr);
	} else if (which == 10 && there && S_ISREG(attr.mode)) {
		struct setattr size = {.mask = SET_SIZE, .size = next_random(random) % 9000};
		assert_int_equal(view_setattr(view, attr.ino, &size, &attr), 0);
	} else if (which == 11 && name[0] == 'f' && !there) {
		make(view, dir, name, S_IFLNK | 0777, to);
	}
	assert_true(result <= 0);
}

/* Whether the snapshot looked at was computed from another one. */
static bool random_round(struct place *place, unsigned round, uint64_t *random, char (*names)[32])
{
	struct store *store = place->store;
	struct view *view = head(store, "data");
	unsigned slot = round % KEPT, chance = (unsigned)(next_random(random) % 8);
	char name[32];
	struct error err;

	for (uint64_t i = next_random(random) % 12; i > 0; i--)
		random_change(view, random);
	store_view_put(store, view);
	if (names[slot][0])
		assert_int_equal(snapshot_destroy(store, "data", names[slot], &err), 0);
	snprintf(names[slot], sizeof(names[slot]), "s%u", round);
	take(store, "data", names[slot]);
	if (chance == 0)
		collect(store, next_random(random) % 2, false);
	if (chance != 1) /* some stay without */
		snprintf(name, sizeof(name), "data@%s", names[next_random(random) % MIN(round + 1, KEPT)]);
	else
		snprintf(name, sizeof(name), "data@%s", names[slot]);
	bool partial = check(store, name, NULL).partial;
	if (chance == 2)
		assert_int_equal(dataset_rollback(store, "data", names[next_random(random) % MIN(round + 1, KEPT)], false, NULL, &err), 0);
	if (chance == 3)
		place_reopen(place);
	if (chance == 4) {
		snprintf(name, sizeof(name), "clone%u", round);
		assert_int_equal(dataset_clone(store, "data", names[slot], name, &err), 0);
		view = head(store, name);
		random_change(view, random);
		store_view_put(store, view);
		take(store, name, "s");
		snprintf(name, sizeof(name), "clone%u@s", round);
		(void)check(store, name, NULL);
	}
	if (chance == 5)
		(void)check(store, "data", NULL);
	return partial;
}

static void test_partial_equals_full_over_random_changes(void **state)
{
	struct place *place = *state;
	char names[KEPT][32] = {{0}};
	uint64_t random = 42;
	unsigned partial = 0;

	for (unsigned round = 0; round < 250; round++)
		partial += random_round(place, round, &random, names);
	assert_in_range(partial, 50, 250);
	collect(place->store, false, false);
	for (unsigned i = 0; i < KEPT; i++) {
		AUTO_FREE char *name = xasprintf("data@%s", names[i]);
		(void)check(place->store, name, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cost_follows_what_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_background_does_one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot_may_be_destroyed_while_it_is_computed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_digests_of_the_destroyed_are_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_partial_equals_full_over_random_changes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
