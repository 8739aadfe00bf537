#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/base/array.h"
#include "lib/base/similar.h"

static const char *meant(const char *wanted)
{
	static const char *const words[] = {"export", "import", "snapshot list", "a", "train", "train-2", "caf\xc3\xa9"};
	static struct similar similar;

	similar = (struct similar){.wanted = wanted};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		similar_try(&similar, words[i]);
	return similar.best;
}

static void a_slip_of_the_fingers_is_similar(void **state)
{
	assert_string_equal(meant("exprot"), "export");
	assert_string_equal(meant("exporrt"), "export");
	assert_string_equal(meant("expot"), "export");
	assert_string_equal(meant("imbort"), "import");
	assert_string_equal(meant("snapshot lsit"), "snapshot list");
	assert_string_equal(meant("cafe"), "caf\xc3\xa9");
}

static void the_most_similar_word_is_taken(void **state)
{
	assert_string_equal(meant("train-3"), "train-2");
	assert_string_equal(meant("trainn"), "train");
}

static void what_is_half_another_word_is_not_similar(void **state)
{
	assert_string_equal(meant("b"), "");
	assert_string_equal(meant(""), "");
	assert_string_equal(meant("validation"), "");
}

static void long_words_are_let_be(void **state)
{
	char word[SIMILAR_MAX + 1], other[SIMILAR_MAX];

	memset(word, 'x', sizeof(word));
	word[SIMILAR_MAX] = '\0';
	assert_string_equal(meant(word), "");
	word[SIMILAR_MAX - 1] = '\0';
	memcpy(other, word, sizeof(other));
	other[100] = 'y';
	struct similar similar = {.wanted = word};
	similar_try(&similar, other);
	assert_string_equal(similar.best, other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_of_the_fingers_is_similar),
		cmocka_unit_test(the_most_similar_word_is_taken),
		cmocka_unit_test(what_is_half_another_word_is_not_similar),
		cmocka_unit_test(long_words_are_let_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
