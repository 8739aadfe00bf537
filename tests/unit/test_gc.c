#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "lib/tree/records/extent.h"
#include "tests/unit/dataset_store.h"

#define BLOCK 30000      /* bytes of a test file: several chunks */
#define BIG (8U << 20)   /* of the file "big": stored the bulk way */

static void take(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name wanted = {.dataset = dataset, .name = name};
	struct error err = {0};
	int result = snapshot_create(store, &wanted, 1, NULL, 0, &err);

	if (result < 0)
		print_error("%s\n", err.text);
	assert_int_equal(result, 0);
}

static uint32_t length_of(const char *name)
{
	return strcmp(name, "big") == 0 ? BIG : BLOCK;
}

static void put_block(struct store *store, const char *dataset, const char *name, uint64_t seed)
{
	struct view *view = open_head(store, dataset);
	uint32_t len = length_of(name);
	AUTO_FREE uint8_t *data = xmalloc(len);

	fill_random(seed, data, len);
	write_file(view, ROOT_INO, name, 0, data, len);
	store_view_put(store, view);
}

static void assert_block(struct store *store, const char *view_name, const char *name, uint64_t seed)
{
	struct view *view;
	struct file file = {.exists = true, .len = length_of(name), .data = xmalloc(BIG)};
	struct error err = {0};

	fill_random(seed, file.data, file.len);
	assert_int_equal(store_view_by_name(store, view_name, &view, &err), 0);
	check_file(view, ROOT_INO, name, &file);
	store_view_put(store, view);
	free(file.data);
}

static void make(struct place *place, const char *name)
{
	struct error err = {0};

	assert_int_equal(dataset_create(place->store, name, 0755, 0, 0, 0, &err), 0);
}

static void destroy(struct store *store, const char *dataset, const char *name)
{
	struct error err = {0};
	int result = snapshot_destroy(store, dataset, name, &err);

	if (result < 0)
		print_error("%s\n", err.text);
	assert_int_equal(result, 0);
}

/* --- what is destroyed is given back, all of it --- */

static void only_what_is_seen_stays(void **state)
{
	struct place place;

	place_init(&place);
	make(&place, "a");
	put_block(place.store, "a", "file", 1);
	take(place.store, "a", "one");
	put_block(place.store, "a", "file", 2);
	take(place.store, "a", "two");
	put_block(place.store, "a", "file", 3);
	assert_int_equal(store_sync(place.store), 0);
	uint64_t all = count_chunks(place.store);
	collect(place.store, false, false);
	assert_int_equal(count_chunks(place.store), all);
	destroy(place.store, "a", "one");
	assert_true(gc_wanted(place.store));
	struct gc_progress would = collect(place.store, false, true);
	assert_int_equal(count_chunks(place.store), all);
	struct gc_progress did = collect(place.store, false, false);
	assert_true(did.chunks > 0);
	assert_int_equal(did.chunks, would.chunks);
	assert_int_equal(did.versions, would.versions);
	assert_int_equal(did.bytes, would.bytes);
	assert_int_equal(count_chunks(place.store), all - did.chunks);
	assert_false(gc_wanted(place.store));
	assert_block(place.store, "a@two", "file", 2);
	assert_block(place.store, "a", "file", 3);
	place_clear(&place);
}

/* The inode leaves nothing but tombstones of the open epoch, and the content that they hide; no snapshot sees that any more. */
static void what_was_emptied_and_removed_is_given_back(void **state)
{
	struct setattr change = {.mask = SET_SIZE};
	struct place place;
	struct attr attr;

	place_init(&place);
	make(&place, "a");
	put_block(place.store, "a", "file", 1);
	take(place.store, "a", "one");
	struct view *view = open_head(place.store, "a");
	assert_int_equal(view_lookup(view, ROOT_INO, "file", &attr), 0);
	assert_int_equal(view_setattr(view, attr.ino, &change, &attr), 0);
	assert_int_equal(view_sync(view), 0);
	destroy(place.store, "a", "one");
	assert_int_equal(view_unlink(view, ROOT_INO, "file"), 0);
	store_view_put(place.store, view);
	collect(place.store, false, false);
	assert_int_equal(count_chunks(place.store), 0);
	assert_int_equal(count_records(place.store), 1); /* the root */
	place_clear(&place);
}

static void thousand_snapshots_leave_one_version(void **state)
{
	const unsigned count = 1000, files = 10;
	struct place place;
	uint64_t random = 42;
	AUTO_FREE unsigned *order = xcalloc(count, sizeof(*order));
	char name[16];

	place_init(&place);
	make(&place, "a");
	for (unsigned i = 0; i < count; i++) {
		char file[16], text[16];
		struct view *view = open_head(place.store, "a");
		snprintf(file, sizeof(file), "f%u", (unsigned)(next_random(&random) % files));
		snprintf(text, sizeof(text), "%u", i);
		if (view_unlink(view, ROOT_INO, file) < 0 || i % 3)
			write_file(view, ROOT_INO, file, 0, text, strlen(text));
		store_view_put(place.store, view);
		snprintf(name, sizeof(name), "s%u", i);
		take(place.store, "a", name);
		order[i] = i;
	}
	for (unsigned i = count - 1; i > 0; i--) {
		unsigned k = (unsigned)(next_random(&random) % (i + 1)), held = order[i];
		order[i] = order[k];
		order[k] = held;
	}
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "s%u", order[i]);
		destroy(place.store, "a", name);
		if (i % 100 == 99)
			collect(place.store, true, false);
	}
	collect(place.store, false, false);
	struct view *view = open_head(place.store, "a");
	size_t found = 0;
	assert_int_equal(view_list(view, ROOT_INO, "", count_entry, &found), 0);
	store_view_put(place.store, view);
	assert_int_equal(count_records(place.store), 1 + 3 * found);
	place_clear(&place);
}

/* Content that came, went and came again, in epochs that snapshots shared. */
static void inline_content_leaves_no_tombstones(void **state)
{
	struct place place;
	struct attr attr;

	place_init(&place);
	make(&place, "a");
	for (unsigned i = 0; i < 6; i++) {
		const struct setattr empty = {.mask = SET_SIZE};
		char name[] = {'s', (char)('0' + i), '\0'};
		struct view *view = open_head(place.store, "a");
		write_file(view, ROOT_INO, "file", 0, "text", 4);
		if (i % 2 == 1) {
			assert_int_equal(view_lookup(view, ROOT_INO, "file", &attr), 0);
			assert_int_equal(view_setattr(view, attr.ino, &empty, &attr), 0);
		}
		store_view_put(place.store, view);
		take(place.store, "a", name);
	}
	for (unsigned i = 0; i < 6; i += 2)
		destroy(place.store, "a", (char[]){'s', (char)('0' + i), '\0'});
	for (unsigned i = 1; i < 6; i += 2)
		destroy(place.store, "a", (char[]){'s', (char)('0' + i), '\0'});
	collect(place.store, false, false);
	assert_int_equal(count_records(place.store), 3); /* root, its entry, the empty file */
	place_clear(&place);
}

/* A branch that was left by rollback, with its snapshots: each is pruned with the others still waiting. */
static void a_branch_goes_whole(void **state)
{
	struct place place;
	struct error err = {0};

	place_init(&place);
	make(&place, "a");
	put_block(place.store, "a", "f0", 1);
	take(place.store, "a", "base");
	put_block(place.store, "a", "f1", 2);
	take(place.store, "a", "one");
	put_block(place.store, "a", "f2", 3);
	take(place.store, "a", "two");
	put_block(place.store, "a", "f0", 4);
	assert_int_equal(dataset_rollback(place.store, "a", "base", false, NULL, &err), 0);
	destroy(place.store, "a", "one");
	destroy(place.store, "a", "two");
	destroy(place.store, "a", "base");
	collect(place.store, false, false);
	assert_block(place.store, "a", "f0", 1);
	assert_int_equal(count_records(place.store), 3 + count_chunks(place.store));
	place_clear(&place);
}

static void files_of_a_destroyed_dataset_are_gone(void **state)
{
	struct place place;
	struct error err = {0};

	place_init(&place);
	make(&place, "a");
	make(&place, "b");
	put_block(place.store, "a", "file", 1);
	put_block(place.store, "a", "same", 7);
	put_block(place.store, "b", "same", 7);
	take(place.store, "a", "one");
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	collect(place.store, false, false);
	assert_block(place.store, "b", "same", 7);
	assert_int_equal(count_records(place.store), 3 + count_chunks(place.store));
	place_clear(&place);
}

/* --- stopped and killed --- */

static int stop_at(void *arg, const struct gc_progress *progress)
{
	return strcmp(progress->phase, arg) == 0;
}

static void a_stopped_run_is_still_wanted(void **state)
{
	static const char *const phases[] = {"prune", "mark", "sweep"};
	struct place place;

	place_init(&place);
	make(&place, "a");
	put_block(place.store, "a", "file", 1);
	take(place.store, "a", "one");
	put_block(place.store, "a", "file", 2);
	destroy(place.store, "a", "one");
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		struct gc_options options = {.progress = stop_at, .arg = (void *)(uintptr_t)phases[i]};
		struct gc_progress progress;
		struct error err = {0};
		assert_int_equal(gc_run(place.store, &options, &progress, &err), -ECANCELED);
		place_reopen(&place);
		assert_true(gc_wanted(place.store));
		assert_block(place.store, "a", "file", 2);
	}
	assert_true(collect(place.store, false, false).chunks > 0);
	assert_false(gc_wanted(place.store));
	place_clear(&place);
}

static int scenario(const char *path)
{
	struct store *store;
	struct error err = {0};
	struct gc_options options = {0};
	struct gc_progress progress;

	if (store_open(path, &small_store, &store, &err) < 0)
		return 1;
	return gc_run(store, &options, &progress, &err) < 0;
}

static void killed_it_goes_on(void **state)
{
	static const char *const points[] = {"prune-batch", "prune-batch:kill:3", "gc-after-mark", "gc-sweep", "gc-sweep:kill:2"};
	char name[16];

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		struct place place;
		place_init(&place);
		make(&place, "a");
		for (unsigned k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "f%u", k);
			put_block(place.store, "a", name, k);
		}
		take(place.store, "a", "one");
		take(place.store, "a", "two");
		for (unsigned k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "f%u", k);
			put_block(place.store, "a", name, 100 + k);
		}
		take(place.store, "a", "three");
		put_block(place.store, "a", "f0", 200);
		destroy(place.store, "a", "one");
		destroy(place.store, "a", "two");
		assert_int_equal(store_close(place.store), 0);
		die_at(points[i], "collect", place.path);
		place_open(&place);
		assert_block(place.store, "a@three", "f0", 100);
		assert_block(place.store, "a", "f0", 200);
		collect(place.store, false, false);
		destroy(place.store, "a", "three");
		collect(place.store, false, false);
		assert_block(place.store, "a", "f0", 200);
		assert_block(place.store, "a", "f3", 103);
		/* root, four entries, four inodes, and one extent for each chunk: no content is shared here */
		assert_int_equal(count_records(place.store), 9 + count_chunks(place.store));
		place_clear(&place);
	}
}

/* --- racing --- */

#define RACE_FILES 8
#define RACE_ROUNDS 200

static void race_name(unsigned file, char name[16])
{
	snprintf(name, 16, file == 0 ? "big" : "f%u", file);
}

struct race {
	struct place place;
	atomic_bool stop;
	uint64_t seeds[2][RACE_FILES]; /* what each writer wrote last */
};

struct writer {
	struct race *race;
	unsigned number;
};

/* Few seeds: what one writer makes garbage the other stores again. */
static void *write_on(void *arg)
{
	struct writer *writer = arg;
	struct race *race = writer->race;
	uint64_t random = 77 + writer->number;
	const char *dataset = writer->number ? "b" : "a";

	for (unsigned i = 0; i < RACE_ROUNDS; i++) {
		unsigned file = (unsigned)(next_random(&random) % RACE_FILES);
		uint64_t seed = next_random(&random) % 12;
		char name[16];
		race_name(file, name);
		put_block(race->place.store, dataset, name, seed);
		race->seeds[writer->number][file] = seed + 1;
		if (i % 4 == 0)
			assert_int_equal(store_sync(race->place.store), 0);
	}
	return NULL;
}

static void *snapshot_on(void *arg)
{
	struct race *race = arg;
	char name[16];

	for (unsigned i = 0; !atomic_load(&race->stop); i++) {
		snprintf(name, sizeof(name), "s%u", i);
		take(race->place.store, i % 2 ? "a" : "b", name);
		if (i >= 4) {
			snprintf(name, sizeof(name), "s%u", i - 4);
			destroy(race->place.store, i % 2 ? "a" : "b", name);
		}
	}
	return NULL;
}

static void *collect_on(void *arg)
{
	struct race *race = arg;

	while (!atomic_load(&race->stop))
		collect(race->place.store, false, false);
	return NULL;
}

static int verify_extent(void *arg, const struct extent *extent)
{
	if (extent->record.chunk != CHUNK_NONE)
		assert_int_equal(chunks_verify(arg, extent->record.chunk), 0);
	return 0;
}

static void verify_view(struct store *store, const char *name)
{
	struct view *view;
	struct attr attr;
	struct error err = {0};

	assert_int_equal(store_view_by_name(store, name, &view, &err), 0);
	for (unsigned i = 0; i < RACE_FILES; i++) {
		char file[16];
		race_name(i, file);
		if (view_lookup(view, ROOT_INO, file, &attr) == 0)
			assert_int_equal(view_extents(view, attr.ino, verify_extent, store_chunks(store)), 0);
	}
	store_view_put(store, view);
}

static int verify_snapshot(void *arg, const struct snapshot_info *info)
{
	AUTO_FREE char *name = xasprintf("%s@%s", info->dataset, info->name);

	verify_view(arg, name);
	return 0;
}

static void racing_writers_lose_nothing(void **state)
{
	struct race *race = xcalloc(1, sizeof(*race));
	struct writer writers[2] = {{race, 0}, {race, 1}};
	pthread_t threads[4];
	struct error err = {0};

	place_init(&race->place);
	make(&race->place, "a");
	take(race->place.store, "a", "base");
	assert_int_equal(dataset_clone(race->place.store, "a", "base", "b", &err), 0);
	assert_int_equal(pthread_create(&threads[0], NULL, write_on, &writers[0]), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, write_on, &writers[1]), 0);
	assert_int_equal(pthread_create(&threads[2], NULL, snapshot_on, race), 0);
	assert_int_equal(pthread_create(&threads[3], NULL, collect_on, race), 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	atomic_store(&race->stop, true);
	pthread_join(threads[2], NULL);
	pthread_join(threads[3], NULL);

	assert_int_equal(snapshot_list(race->place.store, NULL, verify_snapshot, race->place.store), 0);
	for (unsigned i = 0; i < 2 * RACE_FILES; i++) {
		char name[16];
		uint64_t seed = race->seeds[i / RACE_FILES][i % RACE_FILES];
		race_name(i % RACE_FILES, name);
		if (seed > 0)
			assert_block(race->place.store, i / RACE_FILES ? "b" : "a", name, seed - 1);
	}
	assert_int_equal(dataset_destroy(race->place.store, "a", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	assert_int_equal(dataset_destroy(race->place.store, "b", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	collect(race->place.store, false, false);
	assert_int_equal(count_chunks(race->place.store), 0);
	assert_int_equal(count_records(race->place.store), 0);
	place_clear(&race->place);
	free(race);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_seen_stays),
		cmocka_unit_test(what_was_emptied_and_removed_is_given_back),
		cmocka_unit_test(thousand_snapshots_leave_one_version),
		cmocka_unit_test(inline_content_leaves_no_tombstones),
		cmocka_unit_test(a_branch_goes_whole),
		cmocka_unit_test(files_of_a_destroyed_dataset_are_gone),
		cmocka_unit_test(a_stopped_run_is_still_wanted),
		cmocka_unit_test(killed_it_goes_on),
		cmocka_unit_test(racing_writers_lose_nothing),
	};

	if (argc == 3)
		return scenario(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
