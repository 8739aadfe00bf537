/* A dataset with a file that cannot be committed: whatever needs its head as it is now says which file, and what helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/ops/json.h"
#include "lib/ops/op_views.h"
#include "lib/ops/ops.h"
#include "lib/tree/records/version.h"
#include "tests/unit/dataset_store.h"

#define LEN 40000
#define REASON "\"d/sub/spoilt\" could not be committed: Input/output error"

/* The first extent of the file is none any more, as its head sees it. */
static void spoil(struct store *store, struct view *view, uint64_t ino)
{
	const struct tree_key stem = tree_stem_extent(view_family(view), ino, 0);
	struct kv_batch *batch = kv_batch_new();

	version_put(view, batch, &stem, 0, "x", 1);
	assert_int_equal(kv_write(store_kv(store), batch, 0), 0);
	kv_batch_free(batch);
}

static void take(struct store *store, const char *dataset, const char *name)
{
	const struct snapshot_name wanted = {.dataset = dataset, .name = name};
	struct error err = {0};

	assert_int_equal(snapshot_create(store, &wanted, 1, "", 0, &err), 0);
}

/* Datasets "c" and "d". In d are a file "fine" and "sub/spoilt", both with a new byte since snapshot "s". */
static int setup(void **state)
{
	static struct place place;
	struct create create = {.mode = S_IFDIR | 0755};
	uint8_t content[LEN];
	struct attr dir, file;
	struct view *view;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "c", 0755, 0, 0, 1, NULL), 0);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, NULL), 0);
	view = open_head(place.store, "d");
	assert_int_equal(view_create(view, ROOT_INO, "sub", &create, &dir, NULL), 0);
	fill_random(1, content, LEN);
	write_file(view, ROOT_INO, "fine", 0, "old", 3);
	write_file(view, dir.ino, "spoilt", 0, content, LEN);
	take(place.store, "d", "s");
	assert_int_equal(view_lookup(view, dir.ino, "spoilt", &file), 0);
	spoil(place.store, view, file.ino);
	write_file(view, ROOT_INO, "fine", 0, "new", 3);
	write_file(view, dir.ino, "spoilt", 0, "a", 1);
	store_view_put(place.store, view);
	*state = &place;
	return 0;
}

static void remove_spoilt(struct store *store)
{
	struct view *view = open_head(store, "d");
	struct attr dir;

	assert_int_equal(view_lookup(view, ROOT_INO, "sub", &dir), 0);
	assert_int_equal(view_unlink(view, dir.ino, "spoilt"), 0);
	store_view_put(store, view);
}

static int teardown(void **state)
{
	place_clear(*state);
	return 0;
}

static void check_told(const struct error *err, const char *what, const char *hint)
{
	AUTO_FREE char *text = xasprintf("%s: " REASON, what);

	assert_int_equal(err->code, -EIO);
	assert_string_equal(err->text, text);
	if (!strstr(err->hint, hint))
		fail_msg("\"%s\" is not in the hint \"%s\"", hint, err->hint);
}

static int run(struct store *store, const char *op, json_t *args, struct error *err, json_t **ret_result)
{
	struct op_context context = {.store = store, .role = OP_OWNER};
	json_t *result = NULL;
	int code = op_run(&context, op, args, &result, err);

	json_decref(args);
	if (ret_result)
		*ret_result = result;
	else
		json_decref(result);
	return code;
}

/* Also of several datasets. When it is removed, they are taken. */
static void a_snapshot_names_it(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	const struct snapshot_name both[] = {{.dataset = "d", .name = "t"}, {.dataset = "c", .name = "t"}};
	struct error err = {0};

	assert_int_equal(snapshot_create(store, both, 2, "", 0, &err), -EIO);
	check_told(&err, "cannot take snapshot \"c@t\"", "remove it");
	assert_int_equal(snapshot_create(store, both, 1, "", 0, &err), -EIO);
	check_told(&err, "cannot take snapshot \"d@t\"", "corpusfs damage");
	take(store, "c", "u");
	remove_spoilt(store);
	assert_int_equal(snapshot_create(store, both, 2, "", 0, &err), 0);
}

static void a_rollback_that_keeps_the_state_names_it_and_changes_nothing(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct error err = {0};
	struct view *view;

	assert_int_equal(dataset_rollback(store, "d", "s", true, NULL, &err), -EIO);
	check_told(&err, "cannot roll \"d\" back to \"s\"", "corpusfs rollback --no-guard d@s");
	view = open_head(store, "d");
	check_file(view, ROOT_INO, "fine", &(struct file){.exists = true, .len = 3, .data = (uint8_t[]){'n', 'e', 'w'}});
	store_view_put(store, view);
	remove_spoilt(store);
}

static void a_rollback_that_keeps_nothing_drops_it(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	uint8_t content[LEN];
	json_t *status;
	struct error err = {0};
	struct attr dir;

	fill_random(1, content, LEN);
	assert_int_equal(dataset_rollback(store, "d", "s", false, NULL, &err), 0);
	struct view *view = open_head(store, "d");
	assert_int_equal(view_lookup(view, ROOT_INO, "sub", &dir), 0);
	check_file(view, ROOT_INO, "fine", &(struct file){.exists = true, .len = 3, .data = (uint8_t[]){'o', 'l', 'd'}});
	check_file(view, dir.ino, "spoilt", &(struct file){.exists = true, .len = LEN, .data = content});
	store_view_put(store, view);
	assert_int_equal(run(store, "store.status", json_object(), &err, &status), 0);
	assert_null(json_object_get(status, "uncommitted"));
	json_decref(status);
	take(store, "d", "t");
}

static int no_freeze(void *arg, const uint32_t *views, size_t count, bool replaces, struct error *lost)
{
	return -EIO;
}

static void what_stops_a_rollback_that_keeps_nothing_is_no_file(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	const struct store_hooks hooks = {.freeze = no_freeze}, none = {0};
	struct error err = {0};

	assert_int_equal(store_sync(store), -EIO);
	store_set_hooks(store, &hooks);
	assert_int_equal(dataset_rollback(store, "d", "s", false, NULL, &err), -EIO);
	assert_string_equal(err.text, "cannot roll \"d\" back to \"s\": Input/output error");
	store_set_hooks(store, &none);
	remove_spoilt(store);
}

static void whatever_looks_at_the_head_names_it(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct error err = {0};
	struct view *view;
	json_t *status;

	assert_int_equal(op_open_view(store, "d", &view, &err), -EIO);
	check_told(&err, "\"d\" cannot be looked at as it is now", "remove it");
	assert_int_equal(run(store, "snapshot.identity", json_pack("{s:s}", "name", "d"), &err, NULL), -EIO);
	check_told(&err, "the identity of d cannot be computed", "remove it");
	assert_int_equal(run(store, "dataset.demote", json_pack("{s:s}", "name", "d"), &err, NULL), -EIO);
	check_told(&err, "cannot demote dataset \"d\"", "remove it");
	assert_int_equal(run(store, "dataset.demote", json_pack("{s:s, s:s}", "name", "d", "to", "s"), &err, NULL), -EIO);
	check_told(&err, "cannot roll \"d\" back to \"s\"", "remove it");
	assert_int_equal(run(store, "store.sync", json_object(), &err, NULL), -EIO);
	check_told(&err, "the store could not be synced", "tried again");
	assert_int_equal(run(store, "store.status", json_object(), &err, &status), 0);
	assert_string_equal(json_string_value(json_object_get(json_object_get(status, "uncommitted"), "file")), "d/sub/spoilt");
	json_decref(status);
	remove_spoilt(store);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_snapshot_names_it),
		TEST(a_rollback_that_keeps_the_state_names_it_and_changes_nothing),
		TEST(a_rollback_that_keeps_nothing_drops_it),
		TEST(what_stops_a_rollback_that_keeps_nothing_is_no_file),
		TEST(whatever_looks_at_the_head_names_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
