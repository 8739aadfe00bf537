/* What was found good in which repository, and how drills there went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/verified.h"
#include "lib/store/json_record.h"
#include "dataset_store.h"

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	place_make(place);
	place_init(place);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	assert_int_equal(store_close(place->store), 0);
	remove_tree(place->dir);
	free(place);
	return 0;
}

static void note(struct store *store, struct verified_note what, double taken)
{
	json_t *all = taken > 0 ? json_pack("{s:f}", "s/1", taken) : NULL;
	struct error err = {0};

	what.taken = all;
	assert_int_equal(verified_note(store, &what, &err), 0);
	json_decref(all);
}

static double known(struct store *store, const char *repository)
{
	struct error err = {0};
	double taken;

	assert_int_equal(verified_get(store, repository, "s/1", &taken, &err), 0);
	return taken;
}

static void test_an_older_backup_takes_nothing_from_a_newer_one(void **state)
{
	struct store *store = ((struct place *)*state)->store;

	assert_true(known(store, "/r") == 0);
	note(store, (struct verified_note){.repository = "/r", .is_drill = true}, 20);
	note(store, (struct verified_note){.repository = "/r", .is_drill = true}, 10);
	assert_true(known(store, "/r") == 20);
	note(store, (struct verified_note){.repository = "/r", .has_newest = true}, 10); /* the newer one was forgotten since */
	assert_true(known(store, "/r") == 10 && known(store, "/other") == 0);
	note(store, (struct verified_note){.repository = "/r", .is_drill = true, .failure = "damaged"}, 30);
	assert_true(known(store, "/r") == 10);
}

static json_t *drill_of(struct store *store, const char *repository)
{
	struct error err = {0};
	json_t *drills, *drill;

	assert_int_equal(verified_drills(store, &drills, &err), 0);
	drill = json_incref(json_object_get(drills, repository));
	json_decref(drills);
	return drill;
}

static void check_drill(struct store *store, int tried, int time, const char *failure)
{
	json_t *drill = drill_of(store, "/r");

	assert_non_null(drill);
	assert_int_equal(json_integer_value(json_object_get(drill, "tried")), tried);
	assert_int_equal(json_integer_value(json_object_get(drill, "time")), time);
	assert_true(failure ? strcmp(json_string_value(json_object_get(drill, "failure")), failure) == 0 : json_is_null(json_object_get(drill, "failure")));
	json_decref(drill);
}

static void test_how_the_last_drill_went_is_known(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct error err = {0};

	note(store, (struct verified_note){.repository = "/r", .has_newest = true}, 10); /* a verification */
	assert_null(drill_of(store, "/r"));
	assert_int_equal(verified_forget_drills(store, "/r", &err), -ENOENT);
	note(store, (struct verified_note){.repository = "/r", .is_drill = true, .now = 100, .seconds = 2}, 10);
	check_drill(store, 100, 100, NULL);
	note(store, (struct verified_note){.repository = "/r", .is_drill = true, .now = 200, .failure = "damaged"}, 0);
	check_drill(store, 200, 100, "damaged");
	note(store, (struct verified_note){.repository = "/r", .has_newest = true, .now = 250}, 10); /* a verification is no drill */
	check_drill(store, 200, 100, "damaged");
	note(store, (struct verified_note){.repository = "/r", .is_drill = true, .now = 300}, 0); /* of what restic made, no dataset is known */
	check_drill(store, 300, 300, NULL);
	assert_int_equal(verified_forget_drills(store, "/r", &err), 0);
	assert_null(drill_of(store, "/r"));
	assert_true(known(store, "/r") == 10);
}

/* Whatever the alphabet says. */
static void test_what_was_noted_longest_ago_goes(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	char name[32];

	for (unsigned i = 0; i < VERIFIED_REPOSITORIES; i++) {
		(void)snprintf(name, sizeof(name), "/r%u", 99 - i);
		note(store, (struct verified_note){.repository = name, .is_drill = true, .now = 1000 + i}, i + 1);
	}
	note(store, (struct verified_note){.repository = "/r99", .is_drill = true, .now = 2000}, 100);
	note(store, (struct verified_note){.repository = "/a", .is_drill = true, .now = 2001}, 7);
	assert_true(known(store, "/r99") == 100 && known(store, "/a") == 7 && known(store, "/r98") == 0 && known(store, "/r97") == 3);
	note(store, (struct verified_note){.repository = "/b", .is_drill = true, .now = 2002}, 8);
	assert_true(known(store, "/a") == 7 && known(store, "/b") == 8 && known(store, "/r97") == 0 && known(store, "/r96") == 4);
}

/* Which knew of no drills. */
static void test_the_record_of_an_older_program_is_understood(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	json_t *all = json_pack("{s:{s:f, s:f}}", "/r", "s/1", 10.0, "s/2", 20.0);

	assert_int_equal(json_record_write(store, "verified", all), 0);
	json_decref(all);
	assert_true(known(store, "/r") == 10);
	assert_null(drill_of(store, "/r"));
	note(store, (struct verified_note){.repository = "/r", .is_drill = true, .now = 1}, 15);
	assert_true(known(store, "/r") == 15);
	check_drill(store, 1, 1, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_older_backup_takes_nothing_from_a_newer_one),
		TEST(test_how_the_last_drill_went_is_known),
		TEST(test_what_was_noted_longest_ago_goes),
		TEST(test_the_record_of_an_older_program_is_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
