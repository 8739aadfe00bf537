/* Many snapshots: what one costs does not depend on how many there are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/store/catalog.h"
#include "tests/unit/dataset_store.h"

#define MANY 400

static void take(struct store *store, const char *dataset, unsigned number)
{
	char name[16];

	snprintf(name, sizeof(name), "s%u", number);
	assert_int_equal(snapshot_create(store, &(struct snapshot_name){dataset, name}, 1, NULL, 0, NULL), 0);
}

/* Each snapshot sees a content of its own. */
static void take_many(struct place *place)
{
	struct view *head;

	place_init(place);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 1, NULL), 0);
	assert_int_equal(store_head(place->store, "a", &head), 0);
	for (unsigned i = 0; i < MANY; i++) {
		uint8_t content[5000];
		fill_random(i, content, sizeof(content));
		write_file(head, ROOT_INO, "file", 0, content, sizeof(content));
		take(place->store, "a", i);
	}
	store_view_put(place->store, head);
}

static void check_content(struct store *store, unsigned number)
{
	char name[16];
	struct file file = {.exists = true, .len = 5000, .data = xmalloc(5000)};
	struct view *view;

	snprintf(name, sizeof(name), "s%u", number);
	fill_random(number, file.data, file.len);
	assert_int_equal(store_snapshot(store, "a", name, &view), 0);
	check_file(view, ROOT_INO, "file", &file);
	store_view_put(store, view);
	file_clear(&file);
}

struct names {
	struct snapshot_name items[MANY];
	char text[MANY][16];
	size_t count;
};

static void name_snapshots(struct names *names, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		snprintf(names->text[i], sizeof(names->text[i]), "s%u", i);
		names->items[names->count++] = (struct snapshot_name){"a", names->text[i]};
	}
}

struct listing {
	struct store *store;
	struct names *victims;
	size_t count;
	uint64_t last;
};

static int destroy_the_rest(void *arg, const struct snapshot_info *info)
{
	struct listing *listing = arg;

	assert_true(info->number > listing->last);
	listing->last = info->number;
	if (listing->count++ == 0)
		assert_int_equal(snapshots_destroy(listing->store, listing->victims->items, listing->victims->count, NULL), 0);
	return 0;
}

/* If all of them were copied first, under the lock, all of them would be told. */
static void a_listing_copies_only_the_next_few(void **state)
{
	struct names victims = {0};
	struct listing listing = {.victims = &victims};
	struct place place;

	take_many(&place);
	name_snapshots(&victims, 10, MANY);
	listing.store = place.store;
	assert_int_equal(snapshot_list(place.store, "a", destroy_the_rest, &listing), 0);
	assert_true(listing.count >= 10 && listing.count < MANY / 2);
	place_clear(&place);
}

static int count_step(void *arg, const struct gc_progress *progress)
{
	++*(unsigned *)arg;
	return 0;
}

/* All at once: told by how often the collector looks up, which it does at least once for each view that it deals with by itself. */
static void hundreds_are_destroyed_and_collected_together(void **state)
{
	struct names victims = {0};
	unsigned steps = 0;
	struct gc_options options = {.progress = count_step, .arg = &steps};
	struct gc_progress progress;
	struct place place;

	take_many(&place);
	name_snapshots(&victims, 1, MANY - 1);
	victims.items[victims.count] = victims.items[0]; /* named twice */
	assert_int_equal(snapshots_destroy(place.store, victims.items, victims.count + 1, NULL), 0);
	assert_int_equal(HASH_CNT(hh, place.store->prunes), MANY - 2);
	assert_int_equal(gc_run(place.store, &options, &progress, NULL), 0);
	assert_true(steps < MANY / 4);
	assert_int_equal(HASH_CNT(hh, place.store->prunes), 0);
	assert_int_equal(count_chunks(place.store), 2);
	/* of the file: an entry, two records and two extents; of the root as many records as it had when they were taken */
	assert_true(count_records(place.store) <= 7);
	check_content(place.store, 0);
	check_content(place.store, MANY - 1);
	place_reopen(&place);
	check_content(place.store, 0);
	check_content(place.store, MANY - 1);
	place_clear(&place);
}

static void either_all_are_destroyed_or_none(void **state)
{
	struct names victims = {0};
	struct error err = {0};
	struct place place;

	take_many(&place);
	name_snapshots(&victims, 0, MANY);
	assert_int_equal(snapshot_hold(place.store, "a", "s399", "kept", NULL), 0);
	assert_int_equal(snapshots_check_destroy(place.store, victims.items, victims.count, &err), -EBUSY);
	assert_int_equal(snapshots_destroy(place.store, victims.items, victims.count, &err), -EBUSY);
	assert_non_null(strstr(err.text, "s399"));
	for (unsigned i = 0; i < MANY; i += 50)
		check_content(place.store, i);
	assert_int_equal(snapshot_release(place.store, "a", "s399", "kept", NULL), 0);
	victims.items[5].name = "none of this name";
	assert_int_equal(snapshots_destroy(place.store, victims.items, victims.count, &err), -ENOENT);
	victims.items[5].name = "s5";
	assert_int_equal(snapshots_check_destroy(place.store, victims.items, victims.count, &err), 0);
	check_content(place.store, 5);
	assert_int_equal(snapshots_destroy(place.store, victims.items, victims.count, &err), 0);
	assert_int_equal(place.store->order.count, 0);
	place_clear(&place);
}

static int in_order(void *arg, const struct snapshot_info *info)
{
	struct listing *listing = arg;

	assert_true(info->number > listing->last);
	listing->last = info->number;
	listing->count++;
	return 0;
}

static void all_datasets_are_listed_in_the_order_of_taking(void **state)
{
	struct listing all = {0}, one = {0};
	struct place place;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 1, NULL), 0);
	assert_int_equal(dataset_create(place.store, "b", 0755, 0, 0, 1, NULL), 0);
	for (unsigned i = 0; i < 150; i++)
		take(place.store, i % 3 ? "a" : "b", i);
	assert_int_equal(snapshot_rename(place.store, &(struct snapshot_name){.dataset = "a", .name = "s1"}, "zz", NULL), 0);
	assert_int_equal(snapshot_destroy(place.store, "b", "s3", NULL), 0);
	for (unsigned again = 0; again < 2; again++) {
		all = one = (struct listing){0};
		assert_int_equal(snapshot_list(place.store, NULL, in_order, &all), 0);
		assert_int_equal(snapshot_list(place.store, "a", in_order, &one), 0);
		assert_int_equal(all.count, 149);
		assert_int_equal(one.count, 100);
		place_reopen(&place);
	}
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listing_copies_only_the_next_few),
		cmocka_unit_test(hundreds_are_destroyed_and_collected_together),
		cmocka_unit_test(either_all_are_destroyed_or_none),
		cmocka_unit_test(all_datasets_are_listed_in_the_order_of_taking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
