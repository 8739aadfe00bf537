/* What every decoder of lib/format must keep; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_ROUND_TRIP_H
#define CORPUSFS_TEST_ROUND_TRIP_H

#include <string.h>

#include "tests/unit/again.h"

static inline void expect_same(round_trip *again, const void *value, size_t len)
{
	AUTO_BUF out = BUF_INIT;
	/* A copy of the exact size lets the sanitizer see one byte too many. */
	AUTO_FREE uint8_t *copy = xmalloc(len);

	memcpy(copy, value, len);
	if (again(copy, len, &out) < 0)
		return;
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, copy, len);
}

/* The record comes back; every shorter one and one byte more are refused; every flipped bit is refused or means itself. */
static inline void abuse(round_trip *again, struct buf *value)
{
	AUTO_BUF out = BUF_INIT;

	assert_int_equal(again(value->data, value->len, &out), 0);
	assert_int_equal(out.len, value->len);
	assert_memory_equal(out.data, value->data, value->len);
	for (size_t len = 0; len < value->len; len++) {
		AUTO_FREE uint8_t *copy = xmalloc(len);
		if (len > 0)
			memcpy(copy, value->data, len);
		assert_int_equal(again(copy, len, &out), -EBADMSG);
	}
	for (size_t bit = 0; bit < value->len * 8; bit++) {
		value->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect_same(again, value->data, value->len);
		value->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_add_u8(value, 0);
	assert_int_equal(again(value->data, value->len, &out), -EBADMSG);
}

#endif
