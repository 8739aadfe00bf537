/* JSON that is read without building it, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/repository/json_scan.h"

#define TEXT "{ \"a\" : 18446744073709551615 ,\"b\":\"x\\\"\\\\\",\"c\":[1,[],{\"d\":null},-1.5e3,\"]}\"],\"e\":[{},{\"f\":true}],\"g\":null} \n"

/* Reads TEXT, or what it is cut down to. */
static bool read_text(const char *json, size_t len)
{
	struct json_scan scan = json_scan_over(json, len);
	struct json_text key = {0}, text = {0};
	uint64_t number = 0;
	size_t items = 0, keys = 0;

	if (!json_scan_open(&scan, '{'))
		return false;
	while (json_scan_key(&scan, &key)) {
		keys++;
		if (json_text_is(&key, "a"))
			(void)!json_scan_number(&scan, &number);
		else if (json_text_is(&key, "b"))
			(void)!json_scan_string(&scan, &text);
		else if (json_text_is(&key, "g"))
			(void)!json_scan_null(&scan);
		else if (!json_text_is(&key, "e"))
			json_scan_skip(&scan);
		else if (json_scan_open(&scan, '['))
			for (; json_scan_item(&scan); items++)
				json_scan_skip(&scan);
	}
	return json_scan_end(&scan) && keys == 5 && items == 2 && number == UINT64_MAX && text.has_escapes && json_text_is(&text, "x\\\"\\\\");
}

static void test_what_is_asked_for_is_read_and_the_rest_is_skipped(void **state)
{
	(void)state;
	assert_true(read_text(TEXT, strlen(TEXT)));
}

/* From memory of exactly that length, so that a byte too many is seen. */
static void test_text_that_ends_too_early_is_bad_wherever_that_is(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(TEXT) - 2; len++) {
		AUTO_FREE char *exact = xmalloc(MAX(len, 1U));

		memcpy(exact, TEXT, len);
		if (read_text(exact, len))
			fail_msg("%zu bytes of it were read", len);
	}
}

static bool is_skipped(const char *json)
{
	struct json_scan scan = json_scan_over(json, strlen(json));

	json_scan_skip(&scan);
	return json_scan_end(&scan);
}

static void test_one_value_is_skipped_whatever_it_is(void **state)
{
	static const char *const good[] = {"1", "0", "-0", "10", "-0.5e-7", "0e0", "1E+20", "0.001", "null", "true", "false", "\"\"", "\"\\u0041\\\\\"",
	                                   "\"\\\"\\/\\b\\f\\n\\r\\t\\uAbCd\"", "[]", "{}", "[[],{}]", " [ {\"a\":[1,2]} , \"[\" ] ",
	                                   "{\"a\":{},\"b\":[{\"c\":[null,true]}],\"d\":-1.5}", "{\"\" : \"\"}"};
	static const char *const bad[] = {"", ",", "]", "[", "{]", "[}", "\"", "\"\\", "\"\n\"", "1 2", "[1]]", "{\"a\":1", "#",
	                                  /* words and numbers */
	                                  "tru", "trux", "truefalse", "nul", "nulll", "True", "NaN", "Infinity", "e", "-", "+1", "--1", "01", "-01", "00", "1.", ".5",
	                                  "1.e3", "1e", "1e+", "1.5.5", "0x10", "1a", "'a'",
	                                  /* escapes */
	                                  "\"\\q\"", "\"\\u12\"", "\"\\u123g\"", "\"\\u\"", "\"\\x41\"", "\"\\",  "\"\\u12",
	                                  /* commas, colons and brackets */
	                                  "[1 2]", "[1,,2]", "[,]", "[,1]", "[1,]", "[1,", "[:]", "[1:2]", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{\"a\",1}",
	                                  "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\"::1}", "{a:1}", "{1:1}", "{\"a\":[1}]", "[[1]", "[{]}", "[]]", "{}}", "[]{}"};
	AUTO_BUF deep = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!is_skipped(good[i]))
			fail_msg("%s is not skipped", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (is_skipped(bad[i]))
			fail_msg("%s is skipped", bad[i]);
	for (unsigned i = 0; i < 1000000; i++)
		buf_add_u8(&deep, '[');
	buf_add_u8(&deep, 0);
	assert_false(is_skipped((char *)deep.data));
}

static void test_numbers_that_are_too_long_or_not_whole_are_bad(void **state)
{
	static const char *const bad[] = {"18446744073709551616", "99999999999999999999", "-1", "1.0", "1e3", "x", "\"1\"", "", "01", "00", "007"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_scan scan = json_scan_over(bad[i], strlen(bad[i]));
		uint64_t number;

		assert_false(json_scan_number(&scan, &number));
		assert_true(scan.bad);
		assert_false(json_scan_end(&scan));
	}
}

static void test_commas_stand_between_things_only(void **state)
{
	static const char *const bad[] = {"[,]", "[1,]", "[1 1]", "[,1]", "[1", "[1,"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct json_scan scan = json_scan_over(bad[i], strlen(bad[i]));
		uint64_t number;

		assert_true(json_scan_open(&scan, '['));
		while (json_scan_item(&scan))
			(void)!json_scan_number(&scan, &number);
		if (json_scan_end(&scan))
			fail_msg("%s is read", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_asked_for_is_read_and_the_rest_is_skipped),
		cmocka_unit_test(test_text_that_ends_too_early_is_bad_wherever_that_is),
		cmocka_unit_test(test_one_value_is_skipped_whatever_it_is),
		cmocka_unit_test(test_numbers_that_are_too_long_or_not_whole_are_bad),
		cmocka_unit_test(test_commas_stand_between_things_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
