/* Who reads a view has all of it, whatever becomes of the head meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/tree/records/scan.h"
#include "tests/unit/dataset_store.h"

#define FILES 300

static void take(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name wanted = {.dataset = dataset, .name = name};

	assert_int_equal(snapshot_create(store, &wanted, 1, NULL, 0, NULL), 0);
}

/* Content of file `i` in its state `state`: large enough to be a chunk. */
static size_t content_of(unsigned i, unsigned state, uint8_t out[6000])
{
	fill_random(i * 100UL + state, out, 6000);
	return 6000;
}

static void write_all(struct store *store, unsigned state)
{
	struct view *head = open_head(store, "a");
	uint8_t content[6000];

	for (unsigned i = 0; i < FILES; i++) {
		char name[32];
		snprintf(name, sizeof(name), "file%03u-%u", i, i % 2 ? state : 0);
		write_file(head, ROOT_INO, name, 0, content, content_of(i, state, content));
	}
	assert_int_equal(view_sync(head), 0);
	store_view_put(store, head);
}

static void remove_all(struct store *store)
{
	struct view *head = open_head(store, "a");
	struct scan_list list;
	struct scan scan;

	scan_of_view(&scan, head);
	assert_int_equal(scan_list(&scan, ROOT_INO, &list), 0);
	for (size_t i = 0; i < list.count; i++)
		assert_int_equal(view_unlink(head, ROOT_INO, list.items[i].name), 0);
	scan_list_clear(&list);
	scan_clear(&scan);
	store_view_put(store, head);
}

/* Dataset "a": snapshot "old" holds the files in state 1, the head those of state 2. Returns the head. */
static struct view *make_reader(struct place *place)
{
	place_init(place);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 1, NULL), 0);
	write_all(place->store, 1);
	take(place->store, "a", "old");
	remove_all(place->store);
	write_all(place->store, 2);
	return open_head(place->store, "a");
}

static void check_all(struct view *view, unsigned state)
{
	uint8_t content[6000], expected[6000];
	struct scan_list list;
	struct scan scan;

	scan_of_view(&scan, view);
	assert_int_equal(scan_list(&scan, ROOT_INO, &list), 0);
	assert_int_equal(list.count, FILES);
	for (size_t i = 0; i < list.count; i++) {
		struct inode *inode;
		assert_int_equal(inode_open(view, list.items[i].ino, &inode), 0);
		assert_int_equal(inode_read(inode, 0, sizeof(content), content), sizeof(content));
		inode_close(inode);
		content_of((unsigned)strtoul(list.items[i].name + 4, NULL, 10), state, expected);
		assert_memory_equal(content, expected, sizeof(content));
	}
	scan_list_clear(&list);
	scan_clear(&scan);
}

static int stop_at_ten(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	return ++*(unsigned *)arg == 10;
}

static void begin_reading(struct view *view)
{
	unsigned count = 0;

	assert_int_equal(view_list(view, ROOT_INO, "", stop_at_ten, &count), 0);
}

/* What is stored when only snapshot "old" is, as the head is the same: the root and the files, with a chunk each. */
static void check_only_old_is_left(struct store *store)
{
	collect(store, false, false);
	assert_int_equal(count_chunks(store), FILES);
	/* an entry, a record and an extent of each file, and the root's record */
	assert_int_equal(count_records(store), 3 * FILES + 1);
}

static void a_rolled_back_head_is_read_whole_without_its_guard(void **state)
{
	char guard[NAME_LEN_MAX + 1];
	struct place place;
	struct view *reader = make_reader(&place);

	begin_reading(reader);
	assert_int_equal(dataset_rollback(place.store, "a", "old", true, guard, NULL), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", guard, NULL), 0);
	collect(place.store, false, false);
	check_all(reader, 2);
	store_view_put(place.store, reader);
	check_only_old_is_left(place.store);
	place_clear(&place);
}

static void a_head_rolled_back_without_guard_is_read_whole(void **state)
{
	struct place place;
	struct view *reader = make_reader(&place);

	begin_reading(reader);
	assert_int_equal(dataset_rollback(place.store, "a", "old", false, NULL, NULL), 0);
	collect(place.store, false, false);
	check_all(reader, 2);
	store_view_put(place.store, reader);
	check_only_old_is_left(place.store);
	place_clear(&place);
}

/* The new head would remove at once what it overwrites, since no snapshot has it any more. */
static void the_new_head_removes_nothing_that_the_old_one_is_read_from(void **state)
{
	char guard[NAME_LEN_MAX + 1];
	struct place place;
	struct view *reader;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 1, NULL), 0);
	write_all(place.store, 1);
	take(place.store, "a", "old");
	reader = open_head(place.store, "a");
	begin_reading(reader);
	assert_int_equal(dataset_rollback(place.store, "a", "old", true, guard, NULL), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", "old", NULL), 0);
	assert_int_equal(snapshot_destroy(place.store, "a", guard, NULL), 0);
	collect(place.store, false, false);
	remove_all(place.store);
	write_all(place.store, 2);
	collect(place.store, false, false);
	check_all(reader, 1);
	store_view_put(place.store, reader);
	check_only_old_is_left(place.store);
	place_clear(&place);
}

static void a_rolled_back_head_is_read_whole_when_its_dataset_is_destroyed(void **state)
{
	struct place place;
	struct view *reader = make_reader(&place);

	begin_reading(reader);
	assert_int_equal(dataset_rollback(place.store, "a", "old", true, NULL, NULL), 0);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_SNAPSHOTS, NULL), 0);
	collect(place.store, false, false);
	check_all(reader, 2);
	store_view_put(place.store, reader);
	collect(place.store, false, false);
	assert_int_equal(count_chunks(place.store), 0);
	assert_int_equal(count_records(place.store), 0);
	place_clear(&place);
}

/* What a head overwrites in a later epoch is gone at once when no snapshot has it: who looks again looks with the head's new line. */
static void a_scan_of_a_head_follows_it(void **state)
{
	struct place place;
	struct view *head;
	struct scan scan;
	struct scan_list list;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 1, NULL), 0);
	write_all(place.store, 1);
	head = open_head(place.store, "a");
	scan_of_view(&scan, head);
	take(place.store, "a", "passing");
	assert_int_equal(snapshot_destroy(place.store, "a", "passing", NULL), 0);
	write_all(place.store, 1);
	assert_int_equal(scan_list(&scan, ROOT_INO, &list), 0);
	assert_int_equal(list.count, FILES);
	for (size_t i = 0; i < list.count; i++) {
		struct scan_inode inode;
		assert_int_equal(scan_named_inode(&scan, list.items[i].ino, &inode), 0);
		scan_inode_clear(&inode);
	}
	scan_list_clear(&list);
	scan_clear(&scan);
	store_view_put(place.store, head);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rolled_back_head_is_read_whole_without_its_guard),
		cmocka_unit_test(a_head_rolled_back_without_guard_is_read_whole),
		cmocka_unit_test(the_new_head_removes_nothing_that_the_old_one_is_read_from),
		cmocka_unit_test(a_rolled_back_head_is_read_whole_when_its_dataset_is_destroyed),
		cmocka_unit_test(a_scan_of_a_head_follows_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
