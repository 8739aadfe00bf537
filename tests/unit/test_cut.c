#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/cut.h"

#define DATA_LEN (4U << 20)
#define MIN_LEN 16384U
#define AVERAGE_LEN 65536U
#define MAX_LEN 262144U

/* xorshift64*: bytes that are the same on every machine. */
static void fill(uint8_t *data, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed ^= seed >> 12;
		seed ^= seed << 25;
		seed ^= seed >> 27;
		data[i] = (uint8_t)((seed * 0x2545f4914f6cdd1dULL) >> 56);
	}
}

static uint8_t *random_data(size_t len, uint64_t seed)
{
	uint8_t *data = xmalloc(len);

	fill(data, len, seed);
	return data;
}

static struct cut usual_cut(void)
{
	struct cut cut;

	cut_init(&cut, MIN_LEN, AVERAGE_LEN, MAX_LEN);
	return cut;
}

static size_t cut_all(const struct cut *cut, const uint8_t *data, size_t len, size_t *ends, size_t room)
{
	size_t count = 0;

	for (size_t at = 0; at < len;) {
		at += cut_next(cut, data + at, len - at);
		assert_true(count < room);
		ends[count++] = at;
	}
	return count;
}

/* The definition in cut.h, word by word. */
static size_t cut_by_definition(const struct cut *cut, const uint8_t *data, size_t len)
{
	uint64_t hash = 0;

	for (size_t i = cut->min; i < len && i < cut->max; i++) {
		hash = (hash << 1) + cut->gear[data[i]];
		if (!(hash & (i < cut->average / 4 * 3 ? cut->mask_hard : cut->mask_easy)))
			return i + 1;
	}
	return len < cut->max ? len : cut->max;
}

static void test_golden_cut_points(void **state)
{
	static const size_t golden[] = {55382,  82650,  137311, 193126, 270494, 346286, 426153, 509465,
	                                592565, 659552, 714982, 765152, 821822, 871186, 968739, 1020196};
	struct cut cut = usual_cut();
	AUTO_FREE uint8_t *data = random_data(DATA_LEN, 1);
	size_t ends[512], count = cut_all(&cut, data, DATA_LEN, ends, 512);

	assert_true(cut.gear[0] == 0x238dfb368b181101ULL && cut.gear[255] == 0xd2260b04cea15a0bULL);
	assert_true(count > ARRAY_SIZE(golden));
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++)
		assert_int_equal(ends[i], golden[i]);
}

static void test_pieces_are_as_defined(void **state)
{
	struct cut cut = usual_cut();
	AUTO_FREE uint8_t *data = random_data(DATA_LEN, 2);

	for (size_t at = 0; at < DATA_LEN;) {
		size_t left = DATA_LEN - at, length = cut_next(&cut, data + at, left);

		assert_int_equal(length, cut_by_definition(&cut, data + at, left));
		assert_true(length <= MAX_LEN && (length > MIN_LEN || length == left));
		at += length;
	}
	/* ends of every parity */
	for (size_t len = MIN_LEN - 2; len < MIN_LEN + 40; len++)
		assert_int_equal(cut_next(&cut, data, len), cut_by_definition(&cut, data, len));
	for (size_t len = cut.middle - 3; len < cut.middle + 4; len++)
		assert_int_equal(cut_next(&cut, data, len), cut_by_definition(&cut, data, len));
	/* cuts in both of the stretches that are scanned at once, at every place */
	cut_init(&cut, 64, 1024, 16384);
	for (size_t at = 0; at < DATA_LEN; at++) {
		size_t length = cut_next(&cut, data + at, DATA_LEN - at);

		assert_int_equal(length, cut_by_definition(&cut, data + at, DATA_LEN - at));
		at += length;
	}
}

static void test_limits(void **state)
{
	struct cut cut = usual_cut();
	AUTO_FREE uint8_t *zeros = xcalloc(1, DATA_LEN);

	assert_int_equal(cut_next(&cut, zeros, 0), 0);
	assert_int_equal(cut_next(&cut, zeros, 1), 1);
	assert_int_equal(cut_next(&cut, zeros, MIN_LEN), MIN_LEN);
	assert_int_equal(cut_next(&cut, zeros, DATA_LEN), cut_by_definition(&cut, zeros, DATA_LEN));
	for (size_t len = 0; len < 70000; len += 777)
		assert_true(cut_next(&cut, zeros, len) <= len);
}

static void test_average_is_near_what_was_asked_for(void **state)
{
	struct cut cut = usual_cut();
	size_t len = 32U << 20, ends[4096], count;
	AUTO_FREE uint8_t *data = random_data(len, 3);

	count = cut_all(&cut, data, len, ends, 4096);
	assert_in_range(len / count, AVERAGE_LEN * 7 / 8, AVERAGE_LEN);
}

static void test_inserted_bytes_shift_only_the_cuts_nearby(void **state)
{
	struct cut cut = usual_cut();
	AUTO_FREE uint8_t *data = random_data(DATA_LEN, 4);
	AUTO_FREE uint8_t *shifted = xmalloc(DATA_LEN + 13);
	size_t a[512], b[512], a_count, b_count, same = 0;

	fill(shifted, 13, 99);
	memcpy(shifted + 13, data, DATA_LEN);
	a_count = cut_all(&cut, data, DATA_LEN, a, 512);
	b_count = cut_all(&cut, shifted, DATA_LEN + 13, b, 512);
	for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
		if (a[i] + 13 == b[j])
			same++;
		if (a[i] + 13 <= b[j])
			i++;
		else
			j++;
	}
	assert_true(same * 10 >= a_count * 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_cut_points),
		cmocka_unit_test(test_pieces_are_as_defined),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_average_is_near_what_was_asked_for),
		cmocka_unit_test(test_inserted_bytes_shift_only_the_cuts_nearby),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
