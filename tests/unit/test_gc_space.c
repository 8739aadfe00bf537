/* What is on the disk follows the content: what was overwritten or removed gives its room back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#define MIB (1U << 20)
/* Indexes, filters and headers of the files. */
#define CONSTANT (256U << 10)

static void place_with_dataset(struct place *place)
{
	struct error err = {0};

	place_init(place);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 0, &err), 0);
}

static uint64_t stored(const struct place *place)
{
	return kv_total_bytes(store_kv(place->store));
}

static void assert_follows(const struct place *place, uint64_t content)
{
	uint64_t bytes = stored(place);

	if (bytes > content * 13 / 10 + CONSTANT)
		print_error("%llu bytes are stored for %llu\n", (unsigned long long)bytes, (unsigned long long)content);
	assert_true(bytes <= content * 13 / 10 + CONSTANT);
}

static void write_at(struct place *place, struct file *file, uint64_t seed, size_t offset, size_t len)
{
	struct view *view = open_head(place->store, "a");

	fill_random(seed, file->data + offset, len);
	write_file(view, ROOT_INO, "file", offset, file->data + offset, len);
	file->len = MAX(file->len, offset + len);
	store_view_put(place->store, view);
}

static void check(struct place *place, const struct file *file)
{
	struct view *view = open_head(place->store, "a");

	check_file(view, ROOT_INO, "file", file);
	store_view_put(place->store, view);
}

/* Pieces at multiples of their length: whole chunks are overwritten. As the store is closed and opened, what is in
 * memory comes to files. */
static void overwrite(struct place *place, struct file *file, unsigned count, size_t len, size_t piece)
{
	uint64_t random = 7;

	for (size_t at = 0; at < len; at += piece)
		write_at(place, file, 1 + at, at, piece);
	for (unsigned i = 0; i < count; i++) {
		write_at(place, file, len + i, next_random(&random) % (len / piece) * piece, piece);
		assert_int_equal(store_sync(place->store), 0);
		if (i % (count / 4) == 0)
			place_reopen(place);
	}
	place_reopen(place);
}

static void small_overwritten_pieces_go(void **state)
{
	struct place place;
	struct file file = {.exists = true, .data = xcalloc(1, 3 * MIB)};

	place_with_dataset(&place);
	overwrite(&place, &file, 1000, 3 * MIB, 12288);
	assert_true(stored(&place) > 9 * MIB);
	collect(place.store, false, false);
	assert_follows(&place, 3 * MIB);
	place_reopen(&place);
	assert_follows(&place, 3 * MIB);
	check(&place, &file);
	place_clear(&place);
	free(file.data);
}

static void large_overwritten_pieces_go(void **state)
{
	struct place place;
	struct file file = {.exists = true, .data = xcalloc(1, 16 * MIB)};

	place_with_dataset(&place);
	overwrite(&place, &file, 10, 16 * MIB, 8 * MIB);
	assert_true(stored(&place) > 48 * MIB);
	collect(place.store, false, false);
	assert_follows(&place, 16 * MIB);
	check(&place, &file);
	place_clear(&place);
	free(file.data);
}

static void make_and_remove(struct place *place, unsigned first, unsigned count)
{
	struct view *view = open_head(place->store, "a");

	for (unsigned i = first; i < first + count; i++) {
		char name[200];
		snprintf(name, sizeof(name), "%0150u", i);
		write_file(view, ROOT_INO, name, 0, name, sizeof(name));
	}
	store_view_put(place->store, view);
	place_reopen(place);
	view = open_head(place->store, "a");
	for (unsigned i = first; i < first + count; i++) {
		char name[200];
		snprintf(name, sizeof(name), "%0150u", i);
		assert_int_equal(view_unlink(view, ROOT_INO, name), 0);
	}
	store_view_put(place->store, view);
	place_reopen(place);
}

static void removed_names_go(void **state)
{
	struct place place;

	place_with_dataset(&place);
	make_and_remove(&place, 0, 10000);
	assert_true(stored(&place) > 2 * CONSTANT);
	collect(place.store, false, false);
	assert_follows(&place, 0);
	place_clear(&place);
}

/* --- what is said of it --- */

static void dropped_content_is_counted(void **state)
{
	struct place place;
	struct file file = {.exists = true, .data = xcalloc(1, 16 * MIB)};
	struct snapshot_name snapshot = {.dataset = "a", .name = "s"};
	struct error err = {0};

	place_with_dataset(&place);
	write_at(&place, &file, 1, 0, 16 * MIB);
	assert_int_equal(store_sync(place.store), 0);
	assert_int_equal(gc_dropped_bytes(place.store), 0);
	write_at(&place, &file, 2, 5000, 1000);
	assert_int_equal(store_sync(place.store), 0);
	assert_int_equal(gc_dropped_bytes(place.store), 1000);
	assert_int_equal(snapshot_create(place.store, &snapshot, 1, NULL, 0, &err), 0);
	write_at(&place, &file, 3, 0, 16 * MIB);
	assert_int_equal(store_sync(place.store), 0);
	assert_int_equal(gc_dropped_bytes(place.store), 1000); /* the snapshot has it all */
	place_reopen(&place);
	assert_int_equal(gc_dropped_bytes(place.store), 1000);
	struct view *view = open_head(place.store, "a");
	assert_int_equal(view_unlink(view, ROOT_INO, "file"), 0);
	store_view_put(place.store, view);
	assert_int_equal(gc_dropped_bytes(place.store), 1000 + 16 * MIB);
	collect(place.store, false, true);
	assert_int_equal(gc_dropped_bytes(place.store), 1000 + 16 * MIB);
	collect(place.store, false, false);
	assert_int_equal(gc_dropped_bytes(place.store), 0);
	place_reopen(&place);
	assert_int_equal(gc_dropped_bytes(place.store), 0);
	place_clear(&place);
	free(file.data);
}

static void much_dropped_content_is_collected(void **state)
{
	struct place place;
	struct file file = {.exists = true, .data = xcalloc(1, 16 * MIB)};

	place_with_dataset(&place);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(gc_wanted(place.store));
		write_at(&place, &file, i, 0, 16 * MIB);
		assert_int_equal(store_sync(place.store), 0);
	}
	assert_false(gc_wanted(place.store)); /* 32 MiB */
	write_at(&place, &file, 9, 0, 1000);
	assert_int_equal(store_sync(place.store), 0);
	assert_true(gc_wanted(place.store));
	collect(place.store, false, false);
	assert_false(gc_wanted(place.store));
	place_clear(&place);
	free(file.data);
}

/* What the collector goes by must not be lost when the store is closed. */
static void chunks_are_counted_after_opening(void **state)
{
	struct place place;
	struct file file = {.exists = true, .data = xcalloc(1, 3 * MIB)};

	place_with_dataset(&place);
	overwrite(&place, &file, 100, 3 * MIB, 12288);
	uint64_t count = count_chunks(place.store), estimate = chunks_estimate(store_chunks(place.store));
	assert_in_range(estimate, count - count / 10, count + count / 10);
	collect(place.store, false, false);
	place_reopen(&place);
	assert_false(gc_wanted(place.store));
	place_clear(&place);
	free(file.data);
}

/* --- stopped --- */

static int stop_in_compact(void *arg, const struct gc_progress *progress)
{
	unsigned *left = arg;

	return strcmp(progress->phase, "compact") == 0 && (*left)-- == 0;
}

static void compaction_can_be_stopped(void **state)
{
	struct place place;
	struct file file = {.exists = true, .data = xcalloc(1, 3 * MIB)};
	struct error err = {0};
	unsigned stops = 0;

	place_with_dataset(&place);
	overwrite(&place, &file, 400, 3 * MIB, 12288);
	for (int result = -ECANCELED; result == -ECANCELED; stops++) {
		unsigned left = stops;
		struct gc_options options = {.progress = stop_in_compact, .arg = &left};
		struct gc_progress progress;
		result = gc_run(place.store, &options, &progress, &err);
		assert_true(result == 0 || result == -ECANCELED);
		check(&place, &file);
	}
	assert_true(stops > 3);
	assert_follows(&place, 3 * MIB);
	place_clear(&place);
	free(file.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_overwritten_pieces_go),
		cmocka_unit_test(large_overwritten_pieces_go),
		cmocka_unit_test(removed_names_go),
		cmocka_unit_test(dropped_content_is_counted),
		cmocka_unit_test(much_dropped_content_is_collected),
		cmocka_unit_test(chunks_are_counted_after_opening),
		cmocka_unit_test(compaction_can_be_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
