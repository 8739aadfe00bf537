#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/base/escape.h"

static void expect(const char *bytes, unsigned flags, const char *wanted)
{
	AUTO_FREE char *text = escape_text(bytes, flags);
	AUTO_BUF back = BUF_INIT;

	assert_string_equal(text, wanted);
	unescape_add(&back, text, strlen(text));
	if (flags & ESCAPE_BYTES)
		assert_string_equal((char *)back.data, bytes);
}

static void utf8_is_not_changed(void **state)
{
	(void)state;
	expect("", ESCAPE_BYTES, "");
	expect("a b\n\x01\\n \\x \\xg0 \\x1", ESCAPE_BYTES, "a b\n\x01\\n \\x \\xg0 \\x1");
	expect("caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x90\x98", ESCAPE_BYTES, "caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x90\x98");
}

static void other_bytes_are_hexadecimal(void **state)
{
	(void)state;
	expect("caf\xe9", ESCAPE_BYTES, "caf\\xe9");
	expect("\xc3", ESCAPE_BYTES, "\\xc3");
	expect("\xc0\xaf", ESCAPE_BYTES, "\\xc0\\xaf");                         /* overlong */
	expect("\xe0\x80\xaf", ESCAPE_BYTES, "\\xe0\\x80\\xaf");                /* overlong */
	expect("\xed\xa0\x80", ESCAPE_BYTES, "\\xed\\xa0\\x80");                /* surrogate */
	expect("\xf4\x90\x80\x80", ESCAPE_BYTES, "\\xf4\\x90\\x80\\x80");       /* beyond Unicode */
	expect("\xff\xc3\xa9\xfe", ESCAPE_BYTES, "\\xff\xc3\xa9\\xfe");
}

static void what_looks_like_an_escape_comes_back_as_it_was(void **state)
{
	(void)state;
	expect("\\xe9", ESCAPE_BYTES, "\\x5cxe9");
	expect("\\\\xE9", ESCAPE_BYTES, "\\\\x5cxE9");
	expect("\\\xe9", ESCAPE_BYTES, "\\\\xe9");
	expect("\\x5cxe9", ESCAPE_BYTES, "\\x5cx5cxe9");
	expect("\\x4\xff", ESCAPE_BYTES, "\\x4\\xff");
}

static void control_characters_are_shown_on_request(void **state)
{
	(void)state;
	expect("a\nb\x1b[1m\x7f", ESCAPE_BYTES | ESCAPE_CONTROL, "a\\x0ab\\x1b[1m\\x7f");
	expect("\xc2\x9b", ESCAPE_BYTES | ESCAPE_CONTROL, "\\xc2\\x9b");
	expect("caf\\xe9\n", ESCAPE_CONTROL, "caf\\xe9\\x0a");
	expect("\xc2\xa0", ESCAPE_BYTES | ESCAPE_CONTROL, "\xc2\xa0");
}

/* All strings of five bytes out of those that matter. */
static void everything_comes_back(void **state)
{
	static const char alphabet[] = "\\x5c9\n\x80\xc3\xa9\xe2\x82\xff";
	const size_t count = sizeof(alphabet) - 1;

	(void)state;
	for (size_t i = 0; i < count * count * count * count * count; i++) {
		char bytes[6] = "";
		size_t rest = i;
		for (size_t k = 0; k < 5; k++, rest /= count)
			bytes[k] = alphabet[rest % count];
		for (unsigned flags = ESCAPE_BYTES; flags <= (ESCAPE_BYTES | ESCAPE_CONTROL); flags += ESCAPE_CONTROL) {
			AUTO_FREE char *text = escape_text(bytes, flags);
			AUTO_BUF back = BUF_INIT;
			unescape_add(&back, text, strlen(text));
			assert_string_equal((char *)back.data, bytes);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_is_not_changed),
		cmocka_unit_test(other_bytes_are_hexadecimal),
		cmocka_unit_test(what_looks_like_an_escape_comes_back_as_it_was),
		cmocka_unit_test(control_characters_are_shown_on_request),
		cmocka_unit_test(everything_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
