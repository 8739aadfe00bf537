/* When damaged content is looked for in the store's own backups, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataset_store.h"
#include "lib/backup/backup_schedule.h"
#include "lib/format/record.h"
#include "lib/store/catalog_records.h"
#include "lib/verify/heal_plan.h"

#define NOON 1767960000LL

static int setup(void **state)
{
	static struct place place;
	struct error err = {0};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(dataset_create(place.store, "e", 0755, 0, 0, 1, &err), 0);
	*state = &place;
	return 0;
}

static int teardown(void **state)
{
	place_clear(*state);
	return 0;
}

/* As if it had been found then. */
static void damage(struct place *place, uint64_t chunk, int64_t found, uint64_t replacement)
{
	const struct damage_record record = {.found = found, .replacement = replacement};
	const struct small_key key = catalog_key_damage(chunk);
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF value = BUF_INIT;

	damage_record_encode(&record, &value);
	catalog_record_put(batch, &key, value.data, value.len);
	assert_int_equal(catalog_write(store_kv(place->store), batch), 0);
	kv_batch_free(batch);
	place_reopen(place);
}

static void note(struct place *place, struct heal_note note, int64_t now)
{
	struct error err = {0};

	assert_int_equal(heal_plan_note(place->store, &note, now, &err), 0);
}

static void schedule(struct place *place, const char *dataset, const char *repository, const char *password_file)
{
	json_t *entry = json_pack("{s:s, s:s*, s:{s:s}}", "repository", repository, "password_file", password_file, "every", "full", "daily");
	struct error err = {0};

	assert_int_equal(backup_schedule_set(place->store, dataset, entry, &err), 0);
	json_decref(entry);
}

static int add_place(void *arg, const char *repository, const char *password_file)
{
	char *text = arg;
	const size_t len = strlen(text);

	(void)snprintf(text + len, 256 - len, "%s(%s) ", repository, password_file ? password_file : "");
	return 0;
}

static void assert_places(struct place *place, const char *expected)
{
	char text[256] = "";

	assert_int_equal(heal_plan_places(place->store, add_place, text), 0);
	assert_string_equal(text, expected);
}

static void it_is_due_where_something_is_damaged_and_there_is_a_place(void **state)
{
	struct place *place = *state;

	heal_plan_published(place->store, "lab:");
	assert_false(heal_plan_due(place->store, NOON));
	damage(place, 7, NOON - 10, 8);
	assert_false(heal_plan_due(place->store, NOON)); /* another one stands for it */
	damage(place, 9, NOON - 10, CHUNK_NONE);
	assert_true(heal_plan_due(place->store, NOON));
}

static void without_a_place_it_is_never_due(void **state)
{
	struct place *place = *state;

	damage(place, 9, NOON - 10, CHUNK_NONE);
	assert_false(heal_plan_due(place->store, NOON));
	schedule(place, "d", "/backups", "/secret");
	assert_true(heal_plan_due(place->store, NOON));
}

static void what_was_looked_for_everywhere_is_looked_for_again_a_day_later(void **state)
{
	struct place *place = *state;

	heal_plan_published(place->store, "lab:");
	damage(place, 9, NOON - 10, CHUNK_NONE);
	note(place, (struct heal_note){.begins = true}, NOON);
	note(place, (struct heal_note){0}, NOON + 5);
	assert_false(heal_plan_due(place->store, NOON + HEAL_AGAIN - 1));
	assert_true(heal_plan_due(place->store, NOON + HEAL_AGAIN));
	assert_true(heal_plan_due(place->store, NOON - 1)); /* the clock was set back */
}

static void what_failed_or_did_not_end_is_tried_again_sooner(void **state)
{
	struct place *place = *state;

	heal_plan_published(place->store, "lab:");
	damage(place, 9, NOON - 10, CHUNK_NONE);
	note(place, (struct heal_note){.begins = true}, NOON);
	assert_false(heal_plan_due(place->store, NOON + HEAL_RETRY - 1));
	assert_true(heal_plan_due(place->store, NOON + HEAL_RETRY));
	note(place, (struct heal_note){.failure = "lab: away"}, NOON + 5);
	assert_false(heal_plan_due(place->store, NOON + HEAL_RETRY - 1));
	assert_true(heal_plan_due(place->store, NOON + HEAL_RETRY));
}

static void what_fails_again_and_again_is_tried_after_twice_as_long_each_time_up_to_a_day(void **state)
{
	struct place *place = *state;
	int64_t now = NOON, pause = HEAL_RETRY;

	heal_plan_published(place->store, "lab:");
	damage(place, 9, NOON - 10, CHUNK_NONE);
	for (unsigned i = 0; i < 12; i++) {
		note(place, (struct heal_note){.begins = true}, now);
		note(place, (struct heal_note){.failure = "lab: what it has cannot be read there either"}, now + 5);
		assert_false(heal_plan_due(place->store, now + pause - 1));
		assert_true(heal_plan_due(place->store, now + pause));
		now += pause;
		pause = MIN(2 * pause, HEAL_AGAIN);
	}
	note(place, (struct heal_note){.begins = true}, now);
	note(place, (struct heal_note){.chunks = 1}, now + 5);
	now += HEAL_AGAIN;
	note(place, (struct heal_note){.begins = true}, now);
	note(place, (struct heal_note){.failure = "lab: away"}, now + 5);
	assert_true(heal_plan_due(place->store, now + HEAL_RETRY));
}

static void what_is_found_since_and_what_was_interrupted_is_due_at_once(void **state)
{
	struct place *place = *state;

	heal_plan_published(place->store, "lab:");
	damage(place, 9, NOON - 10, CHUNK_NONE);
	note(place, (struct heal_note){.begins = true}, NOON);
	note(place, (struct heal_note){0}, NOON + 5);
	damage(place, 10, NOON + 2, CHUNK_NONE);
	assert_true(heal_plan_due(place->store, NOON + 10));
	note(place, (struct heal_note){.begins = true}, NOON + 10);
	assert_false(heal_plan_due(place->store, NOON + 11));
	note(place, (struct heal_note){.interrupted = true}, NOON + 11);
	assert_true(heal_plan_due(place->store, NOON + 11));
}

static void each_place_is_given_once_and_the_last_that_was_published_in_first(void **state)
{
	struct place *place = *state;
	char name[32];

	schedule(place, "d", "/backups", "/secret");
	schedule(place, "e", "/backups", "/secret");
	heal_plan_published(place->store, "lab:");
	heal_plan_published(place->store, "s3:host/bucket");
	heal_plan_published(place->store, "/a/directory");
	heal_plan_published(place->store, "./odd:");
	heal_plan_published(place->store, "cloud");
	assert_places(place, "/backups(/secret) cloud:() lab:() ");
	heal_plan_published(place->store, "lab");
	assert_places(place, "/backups(/secret) lab:() cloud:() ");
	schedule(place, "e", "cloud:", NULL);
	assert_places(place, "/backups(/secret) cloud:() lab:() ");
	for (int i = 0; i < 16; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		heal_plan_published(place->store, name);
	}
	schedule(place, "e", "/backups", "/secret");
	assert_places(place, "/backups(/secret) n15:() n14:() n13:() n12:() n11:() n10:() n9:() n8:() n7:() n6:() n5:() n4:() n3:() n2:() n1:() n0:() ");
}

static void status_tells_what_was_healed_last_and_what_hinders_it(void **state)
{
	struct place *place = *state;
	json_t *status;

	heal_plan_published(place->store, "lab:");
	damage(place, 9, NOON - 10, CHUNK_NONE);
	note(place, (struct heal_note){.begins = true}, NOON);
	note(place, (struct heal_note){.chunks = 2, .bytes = 100, .from = "lab:", .failure = "cloud: away"}, NOON + 5);
	status = heal_plan_status(place->store);
	assert_string_equal(json_string_value(json_object_get(status, "failure")), "cloud: away");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(status, "last"), "chunks")), 2);
	assert_int_equal(json_integer_value(json_object_get(status, "tried")), NOON);
	json_decref(status);
	damage(place, 9, NOON - 10, 11);
	note(place, (struct heal_note){.failure = "cloud: away"}, NOON + 6);
	status = heal_plan_status(place->store);
	assert_null(json_object_get(status, "failure")); /* nothing is damaged any more */
	assert_int_equal(json_integer_value(json_object_get(json_object_get(status, "last"), "bytes")), 100);
	json_decref(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_due_where_something_is_damaged_and_there_is_a_place, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_place_it_is_never_due, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_looked_for_everywhere_is_looked_for_again_a_day_later, setup, teardown),
		cmocka_unit_test_setup_teardown(what_failed_or_did_not_end_is_tried_again_sooner, setup, teardown),
		cmocka_unit_test_setup_teardown(what_fails_again_and_again_is_tried_after_twice_as_long_each_time_up_to_a_day, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_found_since_and_what_was_interrupted_is_due_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(each_place_is_given_once_and_the_last_that_was_published_in_first, setup, teardown),
		cmocka_unit_test_setup_teardown(status_tells_what_was_healed_last_and_what_hinders_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
