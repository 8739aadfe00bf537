#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/shell.h"

static void expect(const char *word, const char *wanted)
{
	AUTO_BUF out = BUF_INIT;

	shell_add(&out, word);
	assert_string_equal((char *)out.data, wanted);
}

static void a_plain_word_stays(void **state)
{
	(void)state;
	expect("/data/store-1_a.b:train@v1.0", "/data/store-1_a.b:train@v1.0");
	expect("/caf\xc3\xa9", "/caf\xc3\xa9");
}

static void what_a_shell_takes_apart_is_quoted(void **state)
{
	(void)state;
	expect("", "''");
	expect("my store", "'my store'");
	expect("~a", "'~a'");
	expect("$(rm)", "'$(rm)'");
	expect("it's", "'it'\\''s'");
	expect("a\nb'\\", "$'a\\012b\\'\\\\'");
	expect("caf\xe9", "$'caf\\351'");
}

/* A shell gets back what went in. */
static void a_shell_reads_it_as_it_was(void **state)
{
	(void)state;
	for (int byte = 1; byte < 256; byte++) {
		char word[] = {'a', ' ', (char)byte, '\'', 'b', 0}, back[16] = "";
		AUTO_FREE char *command = shell_text("printf %s", word);
		AUTO_BUF whole = BUF_INIT;

		buf_addf(&whole, "exec bash -c \"$(cat <<'END'\nprintf '%%s' %s\nEND\n)\"", command + strlen("printf "));
		FILE *pipe = popen((const char *)whole.data, "r");
		assert_non_null(pipe);
		back[fread(back, 1, sizeof(back) - 1, pipe)] = '\0';
		assert_int_equal(pclose(pipe), 0);
		assert_string_equal(back, word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_word_stays),
		cmocka_unit_test(what_a_shell_takes_apart_is_quoted),
		cmocka_unit_test(a_shell_reads_it_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
