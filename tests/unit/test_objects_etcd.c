/* Heads that etcd has told of: many of them, and what is no head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/repository/objects_etcd_inside.h"

#define MANY 200000U /* in as many steps for each of them the test would run into its limit */

static struct known *remember(struct objects_etcd *own, const char *name, const char *sealed)
{
	AUTO_BUF value = BUF_INIT;

	buf_addf(&value, "%s\n%s", name, sealed);
	return objects_etcd_remember(own, &value);
}

static void name_of(unsigned dataset, unsigned number, char out[BLOB_ID_TEXT])
{
	snprintf(out, BLOB_ID_TEXT, "%048x%016x", dataset, number);
}

static void many_are_known_and_each_stays_where_it_is(void **state)
{
	struct objects_etcd own = {0};
	char name[BLOB_ID_TEXT], sealed[16];
	struct known *first;

	name_of(0, 1, name);
	first = remember(&own, name, "0");
	for (unsigned i = 0; i < MANY; i++) {
		name_of(i, 1, name);
		snprintf(sealed, sizeof(sealed), "%u", i);
		assert_non_null(remember(&own, name, sealed));
	}
	for (unsigned i = 0; i < MANY; i++) {
		const struct known *known;

		name_of(i, 1, name);
		known = objects_etcd_known(&own, name);
		snprintf(sealed, sizeof(sealed), "%u", i);
		assert_non_null(known);
		assert_true(i > 0 || known == first);
		assert_int_equal(bytes_compare(known->sealed.data, known->sealed.len, sealed, strlen(sealed)), 0);
	}
	name_of(0, 2, name);
	assert_null(objects_etcd_known(&own, name));
	objects_etcd_forget(&own);
	name_of(0, 1, name);
	assert_null(objects_etcd_known(&own, name));
}

static void what_a_name_stands_for_does_not_change(void **state)
{
	struct objects_etcd own = {0};
	char name[BLOB_ID_TEXT];
	struct known *known;

	name_of(7, 1, name);
	known = remember(&own, name, "first");
	known->is_listed = true;
	assert_ptr_equal(remember(&own, name, "second"), known);
	assert_int_equal(known->sealed.len, 5);
	assert_true(known->is_listed);
	objects_etcd_forget(&own);
}

static void what_is_no_head_is_not_known(void **state)
{
	struct objects_etcd own = {0};
	char name[BLOB_ID_TEXT];

	name_of(1, 0, name);
	assert_null(remember(&own, name, "x"));
	snprintf(name, sizeof(name), "%048x%s", 1, OBJECTS_ETCD_DAMAGED);
	assert_null(remember(&own, name, "x"));
	assert_null(remember(&own, "abc", "x"));
	assert_null(own.known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_are_known_and_each_stays_where_it_is),
		cmocka_unit_test(what_a_name_stands_for_does_not_change),
		cmocka_unit_test(what_is_no_head_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
