/* Which backup goes on with one that was cut off: who made it, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/unfinished.h"
#include "backup_scene.h"

static void begin(struct scene *scene, struct unfinished *unfinished)
{
	unfinished_begin(unfinished, scene->place.store, scene->repository.repository->id, 1, BACKUP_FULL);
}

static void say_otherwise(struct scene *scene, const char *key, json_t *value)
{
	json_t *all, *entry;
	const char *name;

	assert_int_equal(json_record_read(scene->place.store, "unfinished", &all), 0);
	json_object_foreach(all, name, entry)
		json_object_set(entry, key, value);
	json_decref(value);
	assert_int_equal(json_record_write(scene->place.store, "unfinished", all), 0);
	json_decref(all);
}

static void one_that_is_made_now_is_its_makers(void **state)
{
	struct unfinished first, second;

	begin(*state, &first);
	assert_true(first.mark[0]);
	begin(*state, &second);
	assert_false(second.mark[0]);
}

static void one_whose_process_is_gone_is_gone_on_with(void **state)
{
	struct unfinished first, second;

	begin(*state, &first);
	say_otherwise(*state, "started", json_integer(1));
	begin(*state, &second);
	assert_string_equal(second.mark, first.mark);
}

/* After a boot, a process may have the same number, and have been started as many ticks later. */
static void one_that_was_made_before_the_boot_is_gone_on_with(void **state)
{
	struct unfinished first, second;

	begin(*state, &first);
	say_otherwise(*state, "place", json_string("75e7b4e6-1d3c-4b9f-9d09-3f1d6f1e7c55/4026531836/4026531834"));
	begin(*state, &second);
	assert_string_equal(second.mark, first.mark);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_is_made_now_is_its_makers, setup, teardown),
		cmocka_unit_test_setup_teardown(one_whose_process_is_gone_is_gone_on_with, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_was_made_before_the_boot_is_gone_on_with, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
