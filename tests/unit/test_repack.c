/* Random overwriting that keeps to no boundaries leaves parts of chunks: their room comes back, and every view sees what it saw. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/dataset_store.h"

#define MIB (1U << 20)
#define LEN (3 * MIB)
#define CONSTANT (256U << 10)
#define WRITE_MAX 20000
#define SNAPSHOTS 4

/* What the head and the snapshots hold. */
struct world {
	struct place place;
	uint64_t random;
	uint8_t *head;
	uint8_t *snapshots[SNAPSHOTS]; /* NULL: there is none */
	unsigned numbers[SNAPSHOTS];
	unsigned taken;
};

static void world_make(struct world *world)
{
	struct error err = {0};

	*world = (struct world){.random = 99, .head = xmalloc(LEN)};
	place_init(&world->place);
	assert_int_equal(dataset_create(world->place.store, "a", 0755, 0, 0, 0, &err), 0);
	fill_random(1, world->head, LEN);
	struct view *view = open_head(world->place.store, "a");
	write_file(view, ROOT_INO, "file", 0, world->head, LEN);
	assert_int_equal(view_sync(view), 0);
	store_view_put(world->place.store, view);
}

static void world_clear(struct world *world)
{
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		free(world->snapshots[i]);
	free(world->head);
	place_clear(&world->place);
}

static void overwrite(struct world *world, unsigned count)
{
	struct view *view = open_head(world->place.store, "a");

	for (unsigned i = 0; i < count; i++) {
		size_t len = 1 + next_random(&world->random) % WRITE_MAX, at = next_random(&world->random) % (LEN - len);
		fill_random(next_random(&world->random), world->head + at, len);
		write_file(view, ROOT_INO, "file", at, world->head + at, len);
		if (i % 3 == 0)
			assert_int_equal(view_sync(view), 0);
	}
	assert_int_equal(view_sync(view), 0);
	store_view_put(world->place.store, view);
}

static void name_of(unsigned number, char *name, size_t size)
{
	snprintf(name, size, "s%u", number);
}

static void drop_snapshot(struct world *world, unsigned at)
{
	struct error err = {0};
	char name[16];

	if (!world->snapshots[at])
		return;
	name_of(world->numbers[at], name, sizeof(name));
	assert_int_equal(snapshot_destroy(world->place.store, "a", name, &err), 0);
	free(steal_ptr(world->snapshots[at]));
}

/* In place of one that there was. */
static void take_snapshot(struct world *world, unsigned at)
{
	struct error err = {0};
	char name[16];

	drop_snapshot(world, at);
	world->numbers[at] = world->taken++;
	name_of(world->numbers[at], name, sizeof(name));
	struct snapshot_name snapshot = {.dataset = "a", .name = name};
	assert_int_equal(snapshot_create(world->place.store, &snapshot, 1, NULL, 0, &err), 0);
	world->snapshots[at] = xmalloc(LEN);
	memcpy(world->snapshots[at], world->head, LEN);
}

static void check_view(struct store *store, const char *name, uint8_t *wanted)
{
	struct file file = {.exists = true, .len = LEN, .data = wanted};
	struct error err = {0};
	struct view *view;

	assert_int_equal(store_view_by_name(store, name, &view, &err), 0);
	check_file(view, ROOT_INO, "file", &file);
	store_view_put(store, view);
}

static void check_world(struct world *world)
{
	char name[24] = "a@";

	check_view(world->place.store, "a", world->head);
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		name_of(world->numbers[i], name + 2, sizeof(name) - 2);
		if (world->snapshots[i])
			check_view(world->place.store, name, world->snapshots[i]);
	}
}

static void assert_follows(struct world *world, uint64_t content)
{
	uint64_t bytes = kv_total_bytes(store_kv(world->place.store));

	if (bytes > content * 13 / 10 + CONSTANT)
		print_error("%llu bytes are stored for %llu\n", (unsigned long long)bytes, (unsigned long long)content);
	assert_true(bytes <= content * 13 / 10 + CONSTANT);
}

static void space_follows_random_overwriting(void **state)
{
	struct world world;

	world_make(&world);
	for (unsigned i = 0; i < 3; i++) {
		overwrite(&world, 500);
		collect(world.place.store, false, true);
		assert_true(collect(world.place.store, false, false).bytes > 0);
		assert_follows(&world, LEN);
		check_world(&world);
		place_reopen(&world.place);
		check_world(&world);
		assert_follows(&world, LEN);
	}
	/* nothing is left to do */
	assert_int_equal(collect(world.place.store, false, true).bytes, 0);
	world_clear(&world);
}

/* Once compressed, content stays so, also if the dataset's new content is stored plainly by now. */
static void compressed_content_stays_compressed(void **state)
{
	struct world world;
	struct error err = {0};

	world_make(&world);
	assert_int_equal(dataset_set_level(world.place.store, "a", 3, &err), 0);
	struct view *view = open_head(world.place.store, "a");
	memset(world.head, '.', LEN);
	for (size_t i = 0; i + 64 <= LEN; i += 64)
		snprintf((char *)world.head + i, 64, "%08zu is the number of this line, and this is all", i);
	write_file(view, ROOT_INO, "file", 0, world.head, LEN);
	assert_int_equal(view_sync(view), 0);
	store_view_put(world.place.store, view);
	collect(world.place.store, false, false);
	uint64_t before = kv_total_bytes(store_kv(world.place.store));
	assert_true(before < LEN / 4);
	assert_int_equal(dataset_set_level(world.place.store, "a", 0, &err), 0);
	view = open_head(world.place.store, "a");
	for (unsigned i = 0; i < LEN / 8192; i++) {
		memset(world.head + i * 8192, 'x', 4000);
		write_file(view, ROOT_INO, "file", i * 8192, world.head + i * 8192, 4000);
	}
	assert_int_equal(view_sync(view), 0);
	store_view_put(world.place.store, view);
	collect(world.place.store, false, false);
	uint64_t after = kv_total_bytes(store_kv(world.place.store));
	if (after >= before + CONSTANT)
		print_error("%llu bytes before, %llu after\n", (unsigned long long)before, (unsigned long long)after);
	assert_true(after < before + CONSTANT);
	check_world(&world);
	world_clear(&world);
}

/* A snapshot of what is in parts already: they are moved under it, and it looks as untouched as before. */
static void parts_that_a_snapshot_sees_are_moved(void **state)
{
	struct world world;

	world_make(&world);
	overwrite(&world, 600);
	take_snapshot(&world, 0);
	overwrite(&world, 3);
	uint64_t touched = count_keys(world.place.store, KV_TOUCHED), records = count_keys(world.place.store, KV_TREE);
	collect(world.place.store, false, false);
	assert_follows(&world, LEN + 6 * WRITE_MAX);
	assert_int_equal(count_keys(world.place.store, KV_TOUCHED), touched);
	assert_int_equal(count_keys(world.place.store, KV_TREE), records);
	check_world(&world);
	world_clear(&world);
}

/* Views that stay open keep extents in memory. */
static void open_views_read_what_was_moved(void **state)
{
	struct world world;
	struct view *views[2];
	struct error err = {0};

	world_make(&world);
	overwrite(&world, 600);
	take_snapshot(&world, 0);
	assert_int_equal(store_view_by_name(world.place.store, "a", &views[0], &err), 0);
	assert_int_equal(store_view_by_name(world.place.store, "a@s0", &views[1], &err), 0);
	check_world(&world);
	assert_true(collect(world.place.store, false, false).bytes > MIB);
	check_world(&world);
	store_view_put(world.place.store, views[0]);
	store_view_put(world.place.store, views[1]);
	world_clear(&world);
}

static void random_snapshots_keep_their_content(void **state)
{
	struct world world;

	world_make(&world);
	for (unsigned i = 0; i < 25; i++) {
		uint64_t kind = next_random(&world.random) % 10;

		overwrite(&world, 1 + next_random(&world.random) % 60);
		if (kind < 4)
			take_snapshot(&world, next_random(&world.random) % SNAPSHOTS);
		else if (kind < 6)
			drop_snapshot(&world, next_random(&world.random) % SNAPSHOTS);
		if (kind % 3 == 0)
			collect(world.place.store, false, false);
		if (kind == 9)
			place_reopen(&world.place);
		check_world(&world);
	}
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		drop_snapshot(&world, i);
	collect(world.place.store, false, false);
	check_world(&world);
	assert_follows(&world, LEN);
	world_clear(&world);
}

/* --- beside others --- */

struct writing {
	struct world *world;
	pthread_t thread;
	atomic_bool stop;
};

static void *write_on(void *arg)
{
	struct writing *writing = arg;

	while (!atomic_load(&writing->stop))
		overwrite(writing->world, 20);
	return NULL;
}

static void writers_beside_it_lose_nothing(void **state)
{
	struct world world;
	struct writing writing = {.world = &world};

	world_make(&world);
	overwrite(&world, 300);
	take_snapshot(&world, 0);
	overwrite(&world, 300);
	assert_int_equal(pthread_create(&writing.thread, NULL, write_on, &writing), 0);
	for (unsigned i = 0; i < 5; i++) {
		char name[24] = "a@";

		collect(world.place.store, false, false);
		name_of(world.numbers[0], name + 2, sizeof(name) - 2);
		check_view(world.place.store, name, world.snapshots[0]);
	}
	atomic_store(&writing.stop, true);
	pthread_join(writing.thread, NULL);
	check_world(&world);
	collect(world.place.store, false, false);
	check_world(&world);
	place_reopen(&world.place);
	check_world(&world);
	world_clear(&world);
}

/* --- killed --- */

static int scenario(const char *path)
{
	struct gc_options options = {0};
	struct gc_progress progress;
	struct store *store;
	struct error err = {0};

	if (store_open(path, &small_store, &store, &err) < 0)
		return 1;
	return gc_run(store, &options, &progress, &err) < 0;
}

static void killed_nothing_is_lost(void **state)
{
	static const char *const points[] = {"repack-before-write", "repack-after-write", "gc-after-mark:kill:2", "gc-sweep:kill:4"};

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		struct world world;

		world_make(&world);
		overwrite(&world, 300);
		take_snapshot(&world, 0);
		overwrite(&world, 100);
		assert_int_equal(store_close(world.place.store), 0);
		die_at(points[i], "collect", world.place.path);
		place_open(&world.place);
		check_world(&world);
		collect(world.place.store, false, false);
		check_world(&world);
		drop_snapshot(&world, 0);
		collect(world.place.store, false, false);
		check_world(&world);
		assert_follows(&world, LEN);
		world_clear(&world);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(space_follows_random_overwriting),
		cmocka_unit_test(compressed_content_stays_compressed),
		cmocka_unit_test(parts_that_a_snapshot_sees_are_moved),
		cmocka_unit_test(open_views_read_what_was_moved),
		cmocka_unit_test(random_snapshots_keep_their_content),
		cmocka_unit_test(writers_beside_it_lose_nothing),
		cmocka_unit_test(killed_nothing_is_lost),
	};

	if (argc == 3)
		return scenario(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
