/* Others' locks of a repository, when there are many: each machine that has mounted something holds one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "lib/base/clock.h"
#include "lib/repository/lock_holder.h"
#include "lib/repository/locks.h"
#include "tests/unit/repository_place.h"

#define OTHERS 6
#define MET_MS 20000 /* so long one that is read waits for another one */

static struct scene {
	struct repository_place place;
	struct repository_lock *others[OTHERS];
	const struct objects_place *inner;
	struct objects_place counting;
	atomic_uint read, inside;
	atomic_bool meets, met; /* meets: the first one to be read goes on when another one is read, too */
} scene;

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	const uint64_t until = clock_ms() + MET_MS;
	int r;

	if (kind != OBJECT_LOCK)
		return scene.inner->get(objects, kind, name, offset, len, out);
	atomic_fetch_add(&scene.read, 1);
	if (atomic_fetch_add(&scene.inside, 1) > 0)
		atomic_store(&scene.met, true);
	while (atomic_load(&scene.meets) && !atomic_load(&scene.met) && clock_ms() < until)
		clock_pause_us(1000);
	r = scene.inner->get(objects, kind, name, offset, len, out);
	atomic_fetch_sub(&scene.inside, 1);
	return r;
}

static int set_up(void **state)
{
	struct error err = {0};

	scene = (struct scene){0};
	repository_place_make(&scene.place);
	for (size_t i = 0; i < OTHERS; i++)
		assert_int_equal(repository_lock_take(scene.place.repository, false, &scene.others[i], &err), 0);
	scene.inner = scene.place.repository->objects->place;
	scene.counting = *scene.inner;
	scene.counting.get = get;
	scene.place.repository->objects->place = &scene.counting;
	return 0;
}

static int tear_down(void **state)
{
	scene.place.repository->objects->place = scene.inner;
	for (size_t i = 0; i < OTHERS; i++)
		repository_lock_release(scene.others[i]);
	repository_place_clear(&scene.place);
	return 0;
}

static void shared_ones_are_read_once_by_who_only_reads(void **state)
{
	struct repository_lock *lock;
	struct error err = {0};

	assert_int_equal(repository_lock_take_to_read(scene.place.repository, &lock, &err), 0);
	assert_int_equal(atomic_load(&scene.read), OTHERS);
	repository_lock_release(lock);
}

static void several_are_read_at_once(void **state)
{
	struct repository_lock *lock;
	struct error err = {0};

	atomic_store(&scene.meets, true);
	assert_int_equal(repository_lock_take_to_read(scene.place.repository, &lock, &err), 0);
	assert_true(atomic_load(&scene.met));
	repository_lock_release(lock);
}

static void one_that_comes_while_another_settles_is_seen(void **state)
{
	struct repository_lock *lock;
	struct error err = {0};
	AUTO_BUF json = BUF_INIT;
	char name[BLOB_ID_TEXT];

	assert_int_equal(repository_lock_begin(scene.place.repository, &lock, &err), 0);
	buf_addf(&json, "{\"time\":\"2999-01-01T00:00:00Z\",\"exclusive\":true,\"hostname\":\"elsewhere\",\"username\":\"root\",\"pid\":1,\"uid\":0,\"gid\":0}");
	assert_int_equal(repository_put_file(scene.place.repository, OBJECT_LOCK, &json, name, &err), 0);
	assert_int_equal(repository_lock_settle(lock, &err), -EBUSY);
	repository_lock_release(lock);
}

static int count_one(void *arg, const struct lock_holder *holder)
{
	size_t *count = arg;

	return ++*count == OTHERS - 1 ? -ECANCELED : 0;
}

static void they_come_in_order_and_until_it_is_enough(void **state)
{
	struct object_names names = {0};
	struct error err = {0};
	size_t count = 0;

	assert_int_equal(repository_list(scene.place.repository, OBJECT_LOCK, &names, &err), 0);
	assert_int_equal(lock_holders_each(scene.place.repository, &names, false, count_one, &count, &err), -ECANCELED);
	assert_int_equal(count, OTHERS - 1);
	array_clear(&names);
}

/* One goes, and one is damaged. */
static void what_went_is_passed_over_and_what_is_damaged_is_told(void **state)
{
	struct object_names names = {0};
	struct error err = {0};
	char path[600];
	size_t count = 0;

	assert_int_equal(repository_list(scene.place.repository, OBJECT_LOCK, &names, &err), 0);
	repository_lock_release(scene.others[0]);
	scene.others[0] = NULL;
	assert_int_equal(lock_holders_each(scene.place.repository, &names, false, count_one, &count, &err), -ECANCELED);
	assert_int_equal(place_count(&scene.place, "locks", path), OTHERS - 1);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 40), 0);
	count = 0;
	assert_int_equal(lock_holders_each(scene.place.repository, &names, false, count_one, &count, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "damaged"));
	array_clear(&names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(shared_ones_are_read_once_by_who_only_reads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(several_are_read_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_comes_while_another_settles_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(they_come_in_order_and_until_it_is_enough, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_went_is_passed_over_and_what_is_damaged_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
