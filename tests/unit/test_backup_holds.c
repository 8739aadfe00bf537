/* Holds on backups, as they stand in a repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/holds.h"
#include "tests/unit/repository_place.h"

#define BACKUP "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* What is read where somebody put this hold. */
static int read_with(const char *hold, struct backup_holds *ret_holds, struct error *err)
{
	struct repository_place place;
	AUTO_BUF json = BUF_INIT;
	char name[BLOB_ID_TEXT];
	int r;

	repository_place_make(&place);
	buf_add(&json, hold, strlen(hold));
	assert_int_equal(repository_put_file(place.repository, OBJECT_HOLD, &json, name, err), 0);
	r = backup_holds_read(place.repository, ret_holds, err);
	repository_place_clear(&place);
	return r;
}

static void a_hold_of_version_1_is_read(void **state)
{
	struct backup_holds holds = {0};
	struct error err = {0};

	assert_int_equal(read_with("{\"version\":1,\"backup\":\"" BACKUP "\",\"tag\":\"t\",\"since\":\"2026-11-30T00:00:00Z\"}", &holds, &err), 0);
	assert_non_null(backup_holds_find(&holds, BACKUP, "t"));
	backup_holds_clear(&holds);
}

/* It may have other fields, and is not to be removed. */
static void a_hold_of_a_newer_version_is_not_damaged(void **state)
{
	static const char *const newer[] = {"{\"version\":2,\"backup\":\"" BACKUP "\",\"tag\":\"t\",\"since\":\"2026-11-30T00:00:00Z\"}", "{\"version\":2}"};

	for (size_t i = 0; i < ARRAY_SIZE(newer); i++) {
		struct backup_holds holds = {0};
		struct error err = {0};

		assert_int_equal(read_with(newer[i], &holds, &err), -EPROTONOSUPPORT);
		assert_int_equal(holds.count, 0);
		assert_non_null(strstr(err.text, "a newer version of corpusfs"));
		assert_null(strstr(err.text, "damaged"));
		assert_null(strstr(err.hint, "remove"));
		backup_holds_clear(&holds);
	}
}

static void a_hold_that_says_not_what_it_holds_is_damaged(void **state)
{
	static const char *const damaged[] = {"", "no hold", "{\"version\":1}", "{\"version\":1,\"backup\":\"" BACKUP "\",\"since\":\"2026-11-30T00:00:00Z\"}",
	                                      "{\"backup\":\"" BACKUP "\",\"tag\":\"t\",\"since\":\"2026-11-30T00:00:00Z\"}"};

	for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
		struct backup_holds holds = {0};
		struct error err = {0};

		assert_int_equal(read_with(damaged[i], &holds, &err), -EBADMSG);
		assert_non_null(strstr(err.hint, "remove that file"));
		backup_holds_clear(&holds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hold_of_version_1_is_read),
		cmocka_unit_test(a_hold_of_a_newer_version_is_not_damaged),
		cmocka_unit_test(a_hold_that_says_not_what_it_holds_is_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
