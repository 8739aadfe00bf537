/* Texts as Go writes them: names of any bytes, JSON strings, times. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/repository/go_mode.h"
#include "lib/repository/go_text.h"

static void quotes_to(const char *bytes, const char *wanted)
{
	AUTO_BUF out = BUF_INIT;
	AUTO_FREE char *back = NULL;

	go_quote(&out, bytes);
	assert_string_equal((char *)out.data, wanted);
	assert_int_equal(go_unquote((char *)out.data, &back), 0);
	assert_string_equal(back, bytes);
}

static void test_names_are_quoted_as_go_does(void **state)
{
	quotes_to("plain", "plain");
	quotes_to("", "");
	quotes_to("a\"b\\c", "a\\\"b\\\\c");
	quotes_to("tab\tnew\nbell\a\x1b\x7f", "tab\\tnew\\nbell\\a\\x1b\\x7f");
	quotes_to("\xff\xc3", "\\xff\\xc3");
	quotes_to("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void test_all_escapes_are_understood(void **state)
{
	AUTO_FREE char *back = NULL;

	assert_int_equal(go_unquote("\\u20ac\\U0001f600\\x41\\'\\v", &back), 0);
	assert_string_equal(back, "\xe2\x82\xac\xf0\x9f\x98\x80" "A'\v");
}

static void test_what_is_no_quoted_text_is_refused(void **state)
{
	static const char *const bad[] = {"\\", "\\x4", "\\q", "\\xg0", "\\U00110000", "\\x00", "\\u12"};
	char *back = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(go_unquote(bad[i], &back), -EBADMSG);
}

static void test_json_strings_hold_no_control_characters(void **state)
{
	AUTO_BUF out = BUF_INIT;

	go_json_string(&out, "a<\n\x01\"\xff\xe2\x80\xa8");
	buf_add_u8(&out, 0);
	assert_string_equal((char *)out.data, "\"a\\u003c\\n\\u0001\\\"\\ufffd\\u2028\"");
}

static void time_is(int64_t seconds, long ns, const char *wanted)
{
	char text[GO_TIME_TEXT];
	struct timespec back;

	go_time_text((struct timespec){seconds, ns}, text);
	assert_string_equal(text, wanted);
	assert_int_equal(go_time_parse(text, &back), 0);
	assert_true(back.tv_sec == seconds && back.tv_nsec == ns);
}

static void test_times_come_back(void **state)
{
	time_is(0, 0, "1970-01-01T00:00:00Z");
	time_is(1700000000, 120000000, "2023-11-14T22:13:20.12Z");
	time_is(-1, 999999999, "1969-12-31T23:59:59.999999999Z");
	time_is(GO_TIME_FIRST, 0, "0001-01-01T00:00:00Z");
	time_is(GO_TIME_LAST, 1, "9999-12-31T23:59:59.000000001Z");
}

static void test_times_have_zones_and_bounds(void **state)
{
	struct timespec time;
	char text[GO_TIME_TEXT];

	assert_int_equal(go_time_parse("2023-11-14T23:13:20.5+01:00", &time), 0);
	assert_true(time.tv_sec == 1700000000 && time.tv_nsec == 500000000);
	assert_int_equal(go_time_parse("2023-11-14", &time), -EBADMSG);
	assert_int_equal(go_time_parse("2023-11-14T23:13:20", &time), -EBADMSG);
	go_time_text((struct timespec){GO_TIME_LAST + 1, 0}, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999999999Z");
}

static void test_modes_come_back(void **state)
{
	static const uint32_t modes[] = {S_IFREG | 0644, S_IFDIR | 01777, S_IFLNK | 0777, S_IFCHR | 0600, S_IFBLK | 0660, S_IFIFO | 0, S_IFSOCK | 0755,
	                                 S_IFREG | 06755};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		assert_int_equal(go_mode_to_st(go_mode_of(modes[i]), go_type_of(modes[i])), modes[i]);
	assert_int_equal(go_mode_to_st(0644, "irregular") & S_IFMT, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_quoted_as_go_does),       cmocka_unit_test(test_all_escapes_are_understood),
		cmocka_unit_test(test_what_is_no_quoted_text_is_refused), cmocka_unit_test(test_json_strings_hold_no_control_characters),
		cmocka_unit_test(test_times_come_back),                   cmocka_unit_test(test_times_have_zones_and_bounds),
		cmocka_unit_test(test_modes_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
