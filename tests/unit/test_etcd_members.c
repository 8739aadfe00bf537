/* Names of members of etcd, and which of them are this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "lib/repository/etcd_members.h"

static void test_names_of_members(void **state)
{
	static const char *const good[] = {"a", "a:1,b:2", "http://a:1,https://b", "[::1]:2379", "[::1]", "10.0.0.1:2379"};
	static const char *const bad[] = {"", ",", "a,", "a:", "a:x", "a:1/v3", "a b", "http://", "[::1", "who:secret@a:1", "secret@a"};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(etcd_members_check(good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct error){0};
		assert_int_equal(etcd_members_check(bad[i], &err), -EINVAL);
		assert_null(strstr(err.text, "secret"));
	}
}

static void test_what_goes_in_the_clear(void **state)
{
	static const struct {
		const char *names;
		bool with_tls, is_in_clear;
	} cases[] = {
		{"a:1", false, true}, {"a:1", true, false}, {"https://a:1,http://b", true, true}, {"https://a:1", false, false}, {"", false, false},
		{"127.0.0.1:1,[::1]:2379,localhost", false, false}, {"127.0.0.1:1,localhost.example.org", false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(etcd_members_in_clear(cases[i].names, cases[i].with_tls), cases[i].is_in_clear);
}

static void test_only_addresses_of_this_machine_are_here(void **state)
{
	static const char *const here[] = {"127.0.0.1", "127.255.0.9:1", "LocalHost:1", "[0:0::1]:1"};
	static const char *const elsewhere[] = {"127.example.org", "127.0.0.1.example.org:1", "127.0.0.300", "128.0.0.1", "localhost.", "[::2]:1", "[::1]x:1",
	                                        "[127.0.0.1]:1"};

	for (size_t i = 0; i < ARRAY_SIZE(here); i++)
		assert_false(etcd_members_in_clear(here[i], false));
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		assert_true(etcd_members_in_clear(elsewhere[i], false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_of_members),
		cmocka_unit_test(test_what_goes_in_the_clear),
		cmocka_unit_test(test_only_addresses_of_this_machine_are_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
