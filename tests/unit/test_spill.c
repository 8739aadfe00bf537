#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/array.h"
#include "lib/base/spill.h"

#define KEYS 3000

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/* Keys of several lengths, some of them the beginning of others. */
static size_t make_key(size_t number, char key[32])
{
	return (size_t)snprintf(key, 32, "%.*s%zu", (int)(number % 5), "kkkkk", number * 7919 % KEYS);
}

struct model {
	unsigned version[KEYS]; /* 0: not there */
};

static size_t make_value(size_t number, unsigned version, char value[300])
{
	size_t len = (number * 31 + version * 17) % 290;

	memset(value, 'a' + (int)(version % 26), len);
	return len;
}

struct walk {
	const struct model *model;
	size_t seen;
	char last[32];
	size_t last_len;
	struct spill_iter *iter;
};

static int compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int order = memcmp(a, b, MIN(a_len, b_len));

	return order ? order : a_len < b_len ? -1 : a_len > b_len;
}

static int look_at(void *arg, const struct spill_item *item)
{
	struct walk *walk = arg;
	bool found = false;

	assert_true(walk->seen == 0 || compare(walk->last, walk->last_len, item->key, item->key_len) < 0);
	assert_true(item->key_len < sizeof(walk->last));
	memcpy(walk->last, item->key, item->key_len);
	walk->last_len = item->key_len;
	for (size_t i = 0; i < KEYS && !found; i++) {
		char key[32], value[300];
		size_t len = make_key(i, key);
		found = walk->model->version[i] && len == item->key_len && memcmp(key, item->key, len) == 0;
		if (found) {
			assert_int_equal(item->value_len, make_value(i, walk->model->version[i], value));
			assert_memory_equal(item->value, value, item->value_len);
		}
	}
	assert_true(found);
	walk->seen++;
	return 0;
}

static void check_all(struct spill *spill, const struct model *model)
{
	struct walk walk = {.model = model};
	size_t wanted = 0;

	for (size_t i = 0; i < KEYS; i++) {
		char key[32], value[300];
		AUTO_BUF got = BUF_INIT;
		int result = spill_get(spill, key, make_key(i, key), &got);
		assert_int_equal(result, model->version[i] ? 0 : -ENOENT);
		if (result == 0) {
			assert_int_equal(got.len, make_value(i, model->version[i], value));
			assert_true(got.len == 0 || memcmp(got.data, value, got.len) == 0);
			wanted++;
		}
	}
	assert_int_equal(spill_each(spill, look_at, &walk), 0);
	assert_int_equal(walk.seen, wanted);
}

static void agrees_with_a_model(void **state)
{
	static const size_t memories[] = {0, 2000, 20000, 1 << 20};

	(void)state;
	for (size_t m = 0; m < ARRAY_SIZE(memories); m++) {
		struct spill *spill = spill_new(memories[m]);
		struct model model = {0};
		uint64_t random = m + 1;
		size_t puts = memories[m] == 0 ? 600 : 6000;
		for (size_t i = 0; i < puts; i++) {
			size_t number = random_next(&random) % KEYS;
			char key[32], value[300];
			model.version[number]++;
			size_t len = make_value(number, model.version[number], value);
			assert_int_equal(spill_put(spill, key, make_key(number, key), value, len), 0);
			if (i == puts / 3)
				check_all(spill, &model);
		}
		check_all(spill, &model);
		spill_free(spill);
	}
}

static int count_numbers(void *arg, const struct spill_item *item)
{
	uint64_t *next = arg;

	assert_int_equal(spill_number(item->key), *next * 3);
	return ++*next == 5000 ? 7 : 0;
}

static void a_set_of_numbers_is_in_order(void **state)
{
	struct spill *spill = spill_new(10000);
	uint64_t next = 0;

	(void)state;
	for (uint64_t i = 0; i < 20000; i++)
		assert_int_equal(spill_add(spill, (i * 7919 % 20000) * 3), 0);
	for (uint64_t i = 0; i < 60000; i += 7)
		assert_int_equal(spill_has(spill, i), i % 3 == 0);
	assert_int_equal(spill_each(spill, count_numbers, &next), 7);
	assert_int_equal(next, 5000);
	spill_free(spill);
}

static void an_empty_map_is_fine(void **state)
{
	struct spill *spill = spill_new(1000);
	struct spill_iter *iter;
	struct spill_item item;

	(void)state;
	assert_int_equal(spill_get(spill, "a", 1, NULL), -ENOENT);
	assert_int_equal(spill_iter_new(spill, &iter), 0);
	assert_int_equal(spill_iter_next(iter, &item), 0);
	spill_iter_free(iter);
	assert_int_equal(spill_put(spill, "", 0, "empty", 5), 0);
	assert_int_equal(spill_get(spill, "", 0, NULL), 0);
	spill_free(spill);
	spill_free(NULL);
}

static void what_is_too_long_is_refused(void **state)
{
	struct spill *spill = spill_new(1000);
	AUTO_FREE char *long_value = xcalloc(1, 2 << 20);
	AUTO_BUF got = BUF_INIT;

	(void)state;
	assert_int_equal(spill_put(spill, "k", 1, long_value, 2 << 20), -EMSGSIZE);
	assert_int_equal(spill_put(spill, "k", 1, long_value, (1 << 20) - 1), 0);
	assert_int_equal(spill_put(spill, "l", 1, long_value, (1 << 20) - 1), 0);
	assert_int_equal(spill_get(spill, "k", 1, &got), 0);
	assert_int_equal(got.len, (1 << 20) - 1);
	spill_free(spill);
}

static void a_file_that_cannot_grow_is_an_error(void **state)
{
	struct spill *spill = spill_new(1000);
	struct rlimit limit, small;
	int result = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 100000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint64_t i = 0; i < 100000 && result == 0; i++)
		result = spill_add(spill, i);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(result, -EFBIG);
	spill_free(spill);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_model),
		cmocka_unit_test(a_set_of_numbers_is_in_order),
		cmocka_unit_test(an_empty_map_is_fine),
		cmocka_unit_test(what_is_too_long_is_refused),
		cmocka_unit_test(a_file_that_cannot_grow_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
