/* A catalogue that has lost the record of a dataset: what only that saw is kept, whatever waits to be pruned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#include "lib/store/catalog_records.h"
#include "lib/store/datasets.h"
#include "lib/store/gc_hold.h"
#include "lib/verify/rebuild.h"

#define LEN 50000

static void take_and_destroy(struct store *store, const char *dataset)
{
	const struct snapshot_name name = {.dataset = dataset, .name = "s"};
	struct error err = {0};

	assert_int_equal(snapshot_create(store, &name, 1, "", 0, &err), 0);
	assert_int_equal(snapshot_destroy(store, dataset, "s", &err), 0);
}

static void put_file(struct store *store, const char *dataset, const char *name)
{
	AUTO_FREE uint8_t *data = xmalloc(LEN);
	struct view *view = open_head(store, dataset);

	fill_random(1, data, LEN);
	write_file(view, ROOT_INO, name, 0, data, LEN);
	store_view_put(store, view);
}

static void lose_dataset(struct place *place, const char *dataset)
{
	struct kv_batch *batch = kv_batch_new();

	catalog_delete_dataset(batch, dataset);
	assert_int_equal(kv_write(store_kv(place->store), batch, KV_SYNC), 0);
	kv_batch_free(batch);
}

/* As repair does when the catalogue was damaged. Returns the name of the one dataset that was recovered. */
static char *repair_catalog(struct place *place)
{
	struct rebuild_of of = {0};
	struct rebuilt rebuilt = {0};
	char *name;

	of.damaged[KV_CATALOG] = true;
	assert_int_equal(rebuild(store_kv(place->store), &of, &rebuilt), 0);
	assert_int_equal(rebuilt.datasets.count, 1);
	name = xstrdup(rebuilt.datasets.items[0]);
	rebuilt_clear(&rebuilt);
	place_reopen(place);
	return name;
}

static void assert_has_file(struct store *store, const char *dataset, const char *name)
{
	AUTO_FREE uint8_t *data = xmalloc(LEN), *wanted = xmalloc(LEN);
	struct view *view = open_head(store, dataset);
	struct inode *inode;
	struct attr attr;

	fill_random(1, wanted, LEN);
	assert_int_equal(view_lookup(view, ROOT_INO, name, &attr), 0);
	assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	assert_int_equal(inode_read(inode, 0, LEN, data), LEN);
	assert_memory_equal(data, wanted, LEN);
	inode_close(inode);
	store_view_put(store, view);
}

/* Nothing but a destroyed snapshot is left of the family, and what was in it waits to be pruned. */
static void test_dataset_whose_last_snapshot_waits_to_be_pruned_is_recovered(void **state)
{
	struct place *place = *state;
	struct error err = {0};

	assert_int_equal(dataset_create(place->store, "d", 0755, 0, 0, 0, &err), 0);
	put_file(place->store, "d", "file");
	take_and_destroy(place->store, "d");
	lose_dataset(place, "d");
	AUTO_FREE char *name = repair_catalog(place);
	assert_has_file(place->store, name, "file");
	(void)collect(place->store, true, false);
	place_reopen(place);
	assert_has_file(place->store, name, "file");
}

/* A hold keeps chunks, and what no view sees goes on being pruned: else a hold might never end. */
static void test_pruning_goes_on_while_nothing_is_collected(void **state)
{
	struct place *place = *state;
	const struct gc_options options = {0};
	struct gc_progress progress;
	struct error err = {0};
	uint64_t records, chunks;

	assert_int_equal(dataset_create(place->store, "d", 0755, 0, 0, 0, &err), 0);
	put_file(place->store, "d", "kept");
	put_file(place->store, "d", "file");
	assert_int_equal(gc_hold_set(store_kv(place->store), GC_HELD), 0);
	const struct snapshot_name name = {.dataset = "d", .name = "s"};
	assert_int_equal(snapshot_create(place->store, &name, 1, "", 0, &err), 0);
	struct view *view = open_head(place->store, "d");
	assert_int_equal(view_unlink(view, ROOT_INO, "file"), 0);
	store_view_put(place->store, view);
	assert_int_equal(snapshot_destroy(place->store, "d", "s", &err), 0);
	records = count_records(place->store);
	chunks = count_chunks(place->store);
	assert_int_equal(gc_run(place->store, &options, &progress, &err), -EBUSY);
	assert_true(count_records(place->store) < records);
	assert_int_equal(count_chunks(place->store), chunks);
	assert_has_file(place->store, "d", "kept");
}

#define CATALOG_TEST(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CATALOG_TEST(test_dataset_whose_last_snapshot_waits_to_be_pruned_is_recovered),
		CATALOG_TEST(test_pruning_goes_on_while_nothing_is_collected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
