#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/dataset_store.h"

static void take(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name wanted = {.dataset = dataset, .name = name};
	struct error err = {0};
	int result = snapshot_create(store, &wanted, 1, NULL, 0, &err);

	if (result < 0)
		print_error("%s\n", err.text);
	assert_int_equal(result, 0);
}

static struct view *view_of(struct store *store, const char *name)
{
	struct view *view;
	struct error err = {0};

	assert_int_equal(store_view_by_name(store, name, &view, &err), 0);
	return view;
}

static void put_text(struct store *store, const char *name, const char *text)
{
	struct view *view = view_of(store, name);

	write_file(view, ROOT_INO, "file", 0, text, strlen(text));
	store_view_put(store, view);
}

static void assert_text_in(struct view *view, const char *text)
{
	struct file file = {.exists = text != NULL, .len = text ? (uint32_t)strlen(text) : 0, .data = (uint8_t *)(uintptr_t)text};

	check_file(view, ROOT_INO, "file", &file);
}

static void assert_text(struct store *store, const char *name, const char *text)
{
	struct view *view = view_of(store, name);

	assert_text_in(view, text);
	store_view_put(store, view);
}

static void make(struct place *place, const char *name)
{
	struct error err = {0};

	assert_int_equal(dataset_create(place->store, name, 0755, 0, 0, 0, &err), 0);
}

static void a_snapshot_stays_as_it_was(void **state)
{
	struct place place;

	place_init(&place);
	make(&place, "a");
	put_text(place.store, "a", "old");
	take(place.store, "a", "one"); /* also what is still buffered */
	put_text(place.store, "a", "new");
	assert_text(place.store, "a@one", "old");
	assert_text(place.store, "a", "new");
	place_reopen(&place);
	assert_text(place.store, "a@one", "old");
	assert_text(place.store, "a", "new");
	place_clear(&place);
}

static void several_in_one_instant_or_none(void **state)
{
	struct place place;
	struct error err = {0};
	struct snapshot_info info[2];
	const struct snapshot_name both[] = {{"b", "s"}, {"a", "s"}}, missing[] = {{"a", "t"}, {"c", "t"}}, twice[] = {{"a", "t"}, {"a", "u"}};

	place_init(&place);
	make(&place, "a");
	make(&place, "b");
	assert_int_equal(snapshot_create(place.store, missing, 2, NULL, 0, &err), -ENOENT);
	assert_int_equal(snapshot_create(place.store, twice, 2, NULL, 0, &err), -EINVAL);
	assert_int_equal(snapshot_get(place.store, "a", "t", &info[0]), -ENOENT);
	assert_int_equal(snapshot_create(place.store, both, 2, "note", 0, &err), 0);
	assert_int_equal(snapshot_create(place.store, both, 2, "note", 0, &err), -EEXIST);
	assert_int_equal(snapshot_get(place.store, "a", "s", &info[0]), 0);
	assert_int_equal(snapshot_get(place.store, "b", "s", &info[1]), 0);
	assert_memory_equal(&info[0].taken, &info[1].taken, sizeof(info[0].taken));
	assert_string_equal(info[0].note, "note");
	snapshot_info_clear(&info[0]);
	snapshot_info_clear(&info[1]);
	place_clear(&place);
}

static bool always_busy(void *arg, uint32_t view)
{
	return *(uint32_t *)arg == view;
}

static void held_or_read_snapshots_stay(void **state)
{
	struct place place;
	struct error err = {0};
	struct snapshot_info info;

	place_init(&place);
	make(&place, "a");
	take(place.store, "a", "one");
	assert_int_equal(snapshot_hold(place.store, "a", "one", "paper", &err), 0);
	assert_int_equal(snapshot_hold(place.store, "a", "one", "paper", &err), -EEXIST);
	place_reopen(&place);
	assert_int_equal(snapshot_destroy(place.store, "a", "one", &err), -EBUSY);
	assert_non_null(strstr(err.text, "paper"));
	assert_int_equal(snapshot_release(place.store, "a", "one", "other", &err), -ENOENT);
	assert_int_equal(snapshot_release(place.store, "a", "one", "paper", &err), 0);
	struct view *view = view_of(place.store, "a@one");
	uint32_t number = view_number(view);
	assert_int_equal(snapshot_destroy(place.store, "a", "one", &err), -EBUSY);
	store_view_put(place.store, view);
	struct store_hooks hooks = {.busy = always_busy, .arg = &number};
	store_set_hooks(place.store, &hooks);
	assert_int_equal(snapshot_destroy(place.store, "a", "one", &err), -EBUSY);
	number = 0;
	assert_int_equal(snapshot_rename(place.store, &(struct snapshot_name){.dataset = "a", .name = "one"}, "two", &err), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", "one", &err), -ENOENT);
	assert_int_equal(snapshot_destroy(place.store, "a", "two", &err), 0);
	assert_int_equal(snapshot_get(place.store, "a", "two", &info), -ENOENT);
	assert_int_equal(store_view_by_number(place.store, number, &view), -ESTALE);
	place_clear(&place);
}

static void rollback_leaves_old_handles_stale(void **state)
{
	struct place place;
	struct error err = {0};
	struct view *old, *again;
	struct attr attr;
	struct inode *inode;
	char guard[NAME_LEN_MAX + 1];

	place_init(&place);
	make(&place, "a");
	put_text(place.store, "a", "old");
	take(place.store, "a", "one");
	put_text(place.store, "a", "newer");
	old = view_of(place.store, "a");
	assert_int_equal(view_lookup(old, ROOT_INO, "file", &attr), 0);
	assert_int_equal(inode_open(old, attr.ino, &inode), 0);
	assert_int_equal(dataset_rollback(place.store, "a", "one", true, guard, &err), 0);
	assert_text(place.store, "a", "old");
	assert_int_equal(inode_write(inode, 0, "x", 1, 0), -ESTALE);
	assert_int_equal(view_unlink(old, ROOT_INO, "file"), -ESTALE);
	assert_text_in(old, "newer");
	assert_int_equal(store_view_by_number(place.store, view_number(old), &again), -ESTALE);
	inode_close(inode);
	store_view_put(place.store, old);
	AUTO_FREE char *name = xasprintf("a@%s", guard);
	assert_text(place.store, name, "newer");
	put_text(place.store, "a", "third");
	place_reopen(&place);
	assert_text(place.store, name, "newer");
	assert_text(place.store, "a@one", "old");
	assert_text(place.store, "a", "third");
	place_clear(&place);
}

/* What only the retired view sees stays while it is read, whatever is destroyed, overwritten and pruned meanwhile. */
static void a_retired_head_is_read_in_peace(void **state)
{
	struct place place;
	struct error err = {0};
	struct view *old;

	place_init(&place);
	make(&place, "a");
	put_text(place.store, "a", "old");
	take(place.store, "a", "one");
	place_reopen(&place); /* nothing of the file is in memory */
	old = view_of(place.store, "a");
	assert_int_equal(dataset_rollback(place.store, "a", "one", false, NULL, &err), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", "one", &err), 0);
	put_text(place.store, "a", "new");
	assert_int_equal(store_sync(place.store), 0);
	collect(place.store, false, false);
	assert_text_in(old, "old");
	store_view_put(place.store, old);
	collect(place.store, false, false);
	assert_text(place.store, "a", "new");
	assert_int_equal(count_records(place.store), 4); /* root, its entry, the file, its content */
	place_clear(&place);
}

/* The file without a name that the snapshot saw open must not take its namesake of after the rollback with it. */
static void orphans_go_with_their_state(void **state)
{
	struct place place;
	struct error err = {0};
	struct view *head;
	struct attr attr;
	struct inode *inode;

	place_init(&place);
	make(&place, "a");
	put_text(place.store, "a", "keep");
	take(place.store, "a", "named");
	head = view_of(place.store, "a");
	assert_int_equal(view_lookup(head, ROOT_INO, "file", &attr), 0);
	assert_int_equal(inode_open(head, attr.ino, &inode), 0);
	assert_int_equal(view_unlink(head, ROOT_INO, "file"), 0);
	take(place.store, "a", "orphaned");
	assert_int_equal(dataset_rollback(place.store, "a", "named", false, NULL, &err), 0);
	inode_close(inode);
	store_view_put(place.store, head);
	place_reopen(&place);
	assert_text(place.store, "a", "keep");
	assert_int_equal(dataset_rollback(place.store, "a", "orphaned", false, NULL, &err), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", "named", &err), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", "orphaned", &err), 0);
	place_reopen(&place);
	collect(place.store, true, false);
	assert_text(place.store, "a", NULL);
	assert_int_equal(count_records(place.store), 1);
	place_clear(&place);
}

static void a_clone_goes_its_own_way(void **state)
{
	struct place place;
	struct error err = {0};

	place_init(&place);
	make(&place, "a");
	put_text(place.store, "a", "old");
	take(place.store, "a", "one");
	assert_int_equal(dataset_clone(place.store, "a", "none", "b", &err), -ENOENT);
	assert_int_equal(dataset_clone(place.store, "a", "one", "a", &err), -EEXIST);
	assert_int_equal(dataset_clone(place.store, "a", "one", "b", &err), 0);
	put_text(place.store, "b", "clone");
	assert_int_equal(snapshot_destroy(place.store, "a", "one", &err), 0);
	collect(place.store, false, false);
	assert_text(place.store, "a", "old");
	assert_text(place.store, "b", "clone");
	assert_int_equal(dataset_destroy(place.store, "a", 0, &err), 0);
	collect(place.store, false, false);
	place_reopen(&place);
	assert_text(place.store, "b", "clone");
	assert_int_equal(count_records(place.store), 4);
	place_clear(&place);
}

/* --- killed in the middle --- */

static int scenario(const char *what, const char *path)
{
	struct store *store;
	struct error err = {0};
	const struct snapshot_name wanted = {.dataset = "a", .name = "two"};

	if (store_open(path, &small_store, &store, &err) < 0)
		return 1;
	if (strcmp(what, "snapshot") == 0)
		return snapshot_create(store, &wanted, 1, NULL, 0, &err) < 0;
	if (strcmp(what, "rollback") == 0)
		return dataset_rollback(store, "a", "one", true, NULL, &err) < 0;
	if (strcmp(what, "clone") == 0)
		return dataset_clone(store, "a", "one", "b", &err) < 0;
	return snapshot_destroy(store, "a", "one", &err) < 0;
}

static int count_snapshot(void *arg, const struct snapshot_info *info)
{
	(*(size_t *)arg)++;
	return 0;
}

static void killed_it_is_done_or_not(void **state)
{
	static const struct {
		const char *point, *what;
		size_t snapshots;
		const char *head;
		bool clone;
	} cases[] = {
		{"snapshot-before-write", "snapshot", 1, "new", false}, {"snapshot-after-write", "snapshot", 2, "new", false},
		{"rollback-before-write", "rollback", 1, "new", false}, {"rollback-after-write", "rollback", 2, "old", false},
		{"clone-before-write", "clone", 1, "new", false},       {"clone-after-write", "clone", 1, "new", true},
		{"destroy-before-write", "destroy", 1, "new", false},   {"destroy-after-write", "destroy", 0, "new", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct place place;
		size_t snapshots = 0;
		struct dataset_info info;
		place_init(&place);
		make(&place, "a");
		put_text(place.store, "a", "old");
		take(place.store, "a", "one");
		put_text(place.store, "a", "new");
		assert_int_equal(store_close(place.store), 0);
		die_at(cases[i].point, cases[i].what, place.path);
		place_open(&place);
		assert_int_equal(snapshot_list(place.store, "a", count_snapshot, &snapshots), 0);
		assert_int_equal(snapshots, cases[i].snapshots);
		assert_text(place.store, "a", cases[i].head);
		assert_int_equal(dataset_get(place.store, "b", &info), cases[i].clone ? 0 : -ENOENT);
		if (snapshots > 0)
			assert_text(place.store, "a@one", "old");
		if (cases[i].clone)
			assert_text(place.store, "b", "old");
		collect(place.store, false, false);
		put_text(place.store, "a", "on");
		place_clear(&place);
	}
}

/* --- the random model --- */

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_stays_as_it_was),
		cmocka_unit_test(several_in_one_instant_or_none),
		cmocka_unit_test(held_or_read_snapshots_stay),
		cmocka_unit_test(rollback_leaves_old_handles_stale),
		cmocka_unit_test(a_retired_head_is_read_in_peace),
		cmocka_unit_test(orphans_go_with_their_state),
		cmocka_unit_test(a_clone_goes_its_own_way),
		cmocka_unit_test(killed_it_is_done_or_not),
	};

	if (argc == 3)
		return scenario(argv[1], argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
