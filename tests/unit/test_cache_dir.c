/* The directory of a cache on disk: whose it is, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/cached_place.h"

static void directory_is_for_one_process_and_one_user(void **state)
{
	struct fixture *fixture = *state;
	struct cache_dir second;
	struct error err = {0};
	struct stat st;

	assert_int_equal(stat(fixture->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(cache_dir_open(fixture->path, &second, &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use"));
	close_cache(fixture);
	assert_int_equal(chmod(fixture->path, 0755), 0);
	open_cache(fixture);
	assert_int_equal(stat(fixture->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	if (geteuid() != 0)
		return;
	close_cache(fixture);
	assert_int_equal(chown(fixture->path, 12345, 12345), 0);
	assert_int_equal(cache_dir_open(fixture->path, &second, &err), -EPERM);
	assert_int_equal(chown(fixture->path, 0, 0), 0);
	open_cache(fixture);
}

static void directory_of_something_else_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char path[100], inside[120];
	struct cache_dir dir;
	struct error err = {0};

	snprintf(path, sizeof(path), "%s/new", fixture->path);
	assert_int_equal(cache_dir_open(path, &dir, &err), 0);
	cache_dir_close(&dir);
	snprintf(path, sizeof(path), "%s/other", fixture->path);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(inside, sizeof(inside), "%s/thesis.txt", path);
	close(open(inside, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(cache_dir_open(path, &dir, &err), -ENOTEMPTY);
	snprintf(path, sizeof(path), "%s/not/there", fixture->path);
	assert_int_equal(cache_dir_open(path, &dir, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(directory_is_for_one_process_and_one_user, set_up, tear_down),
		cmocka_unit_test_setup_teardown(directory_of_something_else_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
