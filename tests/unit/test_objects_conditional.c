/* Whether it is found out what a place does with several writers of one object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "lib/repository/objects_conditional.h"
#include "tests/unit/repository_place.h"

static unsigned startable = UINT_MAX;

/* In the place of the library's. */
int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*function)(void *), void *arg)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (startable == 0)
		return EAGAIN;
	startable--;
	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	return create(ret_thread, attributes, function, arg);
}

/* A place that knows one object, and how it treats a second one. */
struct one_object {
	struct objects objects;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t looked;
	unsigned looks;
	bool is_there, ignores, looks_first;
	unsigned gives_way; /* so many that come first give way all the same */
	int fails;
};

static int put_new(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct one_object *one = (struct one_object *)objects;
	bool was_there;

	(void)kind, (void)name, (void)data, (void)len;
	pthread_mutex_lock(&one->lock);
	was_there = one->is_there;
	one->looks++;
	pthread_cond_broadcast(&one->looked);
	/* until another one has looked, too */
	while (one->looks_first && !was_there && one->looks < 2)
		pthread_cond_wait(&one->looked, &one->lock);
	one->is_there = true;
	if (one->gives_way > 0) {
		one->gives_way--;
		was_there = true;
	}
	pthread_mutex_unlock(&one->lock);
	if (one->fails)
		return one->fails;
	return was_there && !one->ignores ? -EEXIST : 0;
}

static int remove_it(struct objects *objects, enum object_kind kind, const char *name)
{
	struct one_object *one = (struct one_object *)objects;

	(void)kind, (void)name;
	if (!one->is_there)
		return -ENOENT;
	one->is_there = false;
	return 0;
}

static int list_nothing(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	(void)objects, (void)kind, (void)each, (void)arg;
	return 0;
}

static const struct objects_place conditional = {.put_new = put_new, .remove = remove_it, .list = list_nothing}, unconditional = {.remove = remove_it};

static int try_it(struct one_object one, bool *ret_conditional)
{
	int r;

	one.objects.place = &conditional;
	pthread_mutex_init(&one.lock, NULL);
	pthread_cond_init(&one.looked, NULL);
	r = objects_try_conditional(&one.objects, ret_conditional);
	assert_false(one.is_there);
	pthread_cond_destroy(&one.looked);
	pthread_mutex_destroy(&one.lock);
	return r;
}

static void place_that_lets_one_through(void **state)
{
	bool is = false;

	assert_int_equal(try_it((struct one_object){0}, &is), 0);
	assert_true(is);
}

static void place_that_overwrites(void **state)
{
	bool is = true;

	assert_int_equal(try_it((struct one_object){.ignores = true}, &is), 0);
	assert_false(is);
}

static void place_that_looks_before_it_writes(void **state)
{
	bool is = true;

	assert_int_equal(try_it((struct one_object){.looks_first = true}, &is), 0);
	assert_false(is);
}

static void all_who_give_way_say_nothing(void **state)
{
	bool is = false;

	assert_int_equal(try_it((struct one_object){.gives_way = 4}, &is), 0);
	assert_true(is);
}

static void refusal_is_told(void **state)
{
	bool is = true;

	assert_int_equal(try_it((struct one_object){.fails = -EACCES}, &is), -EACCES);
	assert_false(is);
}

static void a_race_without_another_says_nothing(void **state)
{
	bool is = true;
	int r;

	startable = 1;
	r = try_it((struct one_object){0}, &is);
	startable = UINT_MAX;
	assert_int_equal(r, -EAGAIN);
	assert_false(is);
}

static void place_that_cannot(void **state)
{
	struct objects objects = {.place = &unconditional};
	bool is = true;

	assert_int_equal(objects_try_conditional(&objects, &is), 0);
	assert_false(is);
}

#define MARK "636f727070726f62"
#define RANDOM "0123456789abcdef"
#define NUMBER_0 "0000000000000000"

static int note_first_digit(void *arg, const char *name, uint64_t size)
{
	char *digits = arg;

	(void)size;
	digits[strlen(digits)] = name[16];
	return 0;
}

static int compare(const void *a, const void *b)
{
	return *(const char *)a - *(const char *)b;
}

static void what_others_left_goes_and_nothing_else(void **state)
{
	const long long now = (long long)time(NULL);
	/* the digit behind the mark tells them apart */
	const struct {
		const char *mark, *random;
		long long time;
		const char *number;
	} names[] = {
		{MARK, "1" RANDOM, now - 4000, NUMBER_0},      {MARK, "2" RANDOM, now - 100, NUMBER_0},
		{MARK, "3" RANDOM, now + 100, NUMBER_0},       {MARK, "4" RANDOM, now + 1000000, NUMBER_0},
		{MARK, "5" RANDOM, now - 4000, "0000000000000001"}, {"636f727070726f63", "6" RANDOM, now - 4000, NUMBER_0},
	};
	struct repository_place place;
	char left[16] = "";
	bool is = false;

	repository_place_make(&place);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char name[BLOB_ID_TEXT];

		snprintf(name, sizeof(name), "%s%.16s%016llx%s", names[i].mark, names[i].random, (unsigned long long)names[i].time, names[i].number);
		assert_int_equal(place.repository->objects->place->put(place.repository->objects, OBJECT_HEAD, name, "x", 1), 0);
	}
	assert_int_equal(objects_try_conditional(place.repository->objects, &is), 0);
	assert_true(is);
	assert_int_equal(place.repository->objects->place->list(place.repository->objects, OBJECT_HEAD, note_first_digit, left), 0);
	qsort(left, strlen(left), 1, compare);
	assert_string_equal(left, "2356");
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(place_that_lets_one_through), cmocka_unit_test(place_that_overwrites),
		cmocka_unit_test(place_that_looks_before_it_writes), cmocka_unit_test(all_who_give_way_say_nothing),
		cmocka_unit_test(refusal_is_told), cmocka_unit_test(a_race_without_another_says_nothing),
		cmocka_unit_test(place_that_cannot), cmocka_unit_test(what_others_left_goes_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
