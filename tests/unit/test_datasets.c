#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/store/leaseless.h"
#include "lib/store/replica.h"
#include "tests/unit/dataset_store.h"

static void names_are_checked(void **state)
{
	static const char *const bad[] = {"",  ".",      "..",       ".snapshots", "a/b",       "a@b",
					  "-", "a\nb",   "\x7f",     "\xff",       "\xc0\x80",  "\xed\xa0\x80",
					  "a\xc2\x85", "\xf4\x90\x80\x80", "\xe2\x82"};
	static const char *const good[] = {"a", "train set", ".hidden", "a-b", "\xc3\xa4\xf0\x9f\x90\x88", "..."};
	struct error err = {0};
	char name[NAME_LEN_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(dataset_name_check("dataset", bad[i], &err), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(dataset_name_check("dataset", good[i], &err), 0);
	memset(name, 'x', sizeof(name));
	name[NAME_LEN_MAX + 1] = '\0';
	assert_int_equal(dataset_name_check("dataset", name, &err), -ENAMETOOLONG);
	name[NAME_LEN_MAX] = '\0';
	assert_int_equal(dataset_name_check("dataset", name, &err), 0);
}

static int join_names(void *arg, const struct dataset_info *info)
{
	buf_addf(arg, "%s ", info->name);
	return 0;
}

static void assert_datasets(struct store *store, const char *wanted)
{
	AUTO_BUF names = BUF_INIT;

	buf_addf(&names, "%s", "");
	assert_int_equal(dataset_list(store, join_names, &names), 0);
	assert_string_equal((const char *)names.data, wanted);
}

static void created_listed_renamed(void **state)
{
	struct place place;
	struct error err = {0};
	struct dataset_info info;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "b", 0750, 10, 20, 3, &err), 0);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 0, &err), -EEXIST);
	assert_datasets(place.store, "a b ");
	assert_int_equal(dataset_rename(place.store, "a", "b", &err), -EEXIST);
	assert_int_equal(dataset_rename(place.store, "x", "c", &err), -ENOENT);
	assert_int_equal(dataset_rename(place.store, "a", "c", &err), 0);
	assert_int_equal(dataset_set_level(place.store, "c", 23, &err), -EINVAL);
	assert_int_equal(dataset_set_level(place.store, "c", 9, &err), 0);
	assert_int_equal(dataset_set_schedule(place.store, "c", "{\"hourly\":3}", &err), 0);
	place_reopen(&place);
	assert_datasets(place.store, "b c ");
	assert_int_equal(dataset_get(place.store, "c", &info), 0);
	assert_int_equal(info.level, 9);
	assert_string_equal(info.schedule, "{\"hourly\":3}");

	struct view *view;
	struct attr attr;
	assert_int_equal(store_head(place.store, "b", &view), 0);
	assert_int_equal(view_getattr(view, ROOT_INO, &attr), 0);
	assert_int_equal(attr.mode, S_IFDIR | 0750);
	assert_int_equal(attr.uid, 10);
	assert_int_equal(attr.gid, 20);
	store_view_put(place.store, view);
	place_clear(&place);
}

static void destroyed_only_when_allowed(void **state)
{
	struct place place;
	struct error err = {0};
	struct view *view;
	const struct snapshot_name wanted = {.dataset = "a", .name = "one"};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(store_head(place.store, "a", &view), 0);
	write_file(view, ROOT_INO, "file", 0, "text", 4);
	assert_int_equal(dataset_destroy(place.store, "a", 0, &err), -EBUSY);
	store_view_put(place.store, view);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_EMPTY_ONLY, &err), -ENOTEMPTY);
	assert_int_equal(store_head(place.store, "a", &view), 0);
	assert_int_equal(view_unlink(view, ROOT_INO, "file"), 0);
	store_view_put(place.store, view);
	assert_int_equal(snapshot_create(place.store, &wanted, 1, NULL, 0, &err), 0);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_EMPTY_ONLY, &err), -ENOTEMPTY);
	assert_int_equal(dataset_destroy(place.store, "a", 0, &err), -ENOTEMPTY);
	assert_int_equal(snapshot_hold(place.store, "a", "one", "me", &err), 0);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_SNAPSHOTS, &err), -EBUSY);
	assert_int_equal(snapshot_release(place.store, "a", "one", "me", &err), 0);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	assert_int_equal(store_head(place.store, "a", &view), -ENOENT);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_EMPTY_ONLY, &err), 0);
	collect(place.store, true, false);
	assert_int_equal(count_records(place.store), 0);
	assert_int_equal(count_keys(place.store, KV_TOUCHED), 0);
	place_reopen(&place);
	assert_datasets(place.store, "");
	place_clear(&place);
}

static int write_to(struct store *store, const char *name)
{
	struct view *view = open_head(store, "a");
	struct create create = {.mode = S_IFREG | 0644};
	struct attr attr;
	int result = view_create(view, ROOT_INO, name, &create, &attr, NULL);

	store_view_put(store, view);
	return result;
}

/* What was accepted before is there; and who may write it is asked for each reason on its own. */
static void without_a_lease_nothing_is_changed(void **state)
{
	const struct snapshot_name wanted = {.dataset = "a", .name = "one"};
	const struct file file = {.exists = true, .len = 4, .data = (uint8_t *)"text"};
	struct place place;
	struct error err = {0};
	struct dataset_info info;
	struct view *view;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(dataset_get(place.store, "a", &info), 0);
	view = open_head(place.store, "a");
	write_file(view, ROOT_INO, "file", 0, "text", 4);
	store_view_put(place.store, view);
	assert_int_equal(dataset_set_leaseless(place.store, info.id + 1, true, &err), -ENOENT);
	assert_int_equal(dataset_set_leaseless(place.store, info.id, true, &err), 0);
	assert_int_equal(dataset_set_leaseless(place.store, info.id, true, &err), 0);
	assert_int_equal(write_to(place.store, "new"), -EROFS);
	assert_int_equal(snapshot_create(place.store, &wanted, 1, NULL, 0, &err), 0);
	assert_int_equal(dataset_rollback(place.store, "a", "one", true, NULL, &err), -EROFS);
	assert_non_null(strstr(err.text, "lease"));
	/* a replica goes on being one */
	assert_int_equal(dataset_set_replica(place.store, "a", true, &err), 0);
	assert_int_equal(dataset_set_leaseless(place.store, info.id, false, &err), 0);
	assert_int_equal(write_to(place.store, "new"), -EROFS);
	assert_int_equal(dataset_set_leaseless(place.store, info.id, true, &err), 0);
	assert_int_equal(dataset_set_replica(place.store, "a", false, &err), 0);
	assert_int_equal(write_to(place.store, "new"), -EROFS);
	assert_int_equal(dataset_set_leaseless(place.store, info.id, false, &err), 0);
	assert_int_equal(write_to(place.store, "new"), 0);
	assert_int_equal(dataset_set_leaseless(place.store, info.id, true, &err), 0);
	place_reopen(&place);
	assert_int_equal(write_to(place.store, "newer"), 0);
	view = open_head(place.store, "a");
	check_file(view, ROOT_INO, "file", &file);
	store_view_put(place.store, view);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(created_listed_renamed),
		cmocka_unit_test(destroyed_only_when_allowed),
		cmocka_unit_test(without_a_lease_nothing_is_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
