#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "lib/transfer/acl_parse.h"

struct entry {
	uint16_t tag, rights;
	uint32_t id;
};

enum { USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

#define NONE UINT32_MAX

static void expect(const char *text, const struct entry *entries, size_t count, const char *unknown_name)
{
	struct acl_names *names = acl_names_new();
	AUTO_BUF acl = BUF_INIT;
	const char *unknown;
	struct reader reader;

	assert_int_equal(acl_parse(names, text, &acl, &unknown), 0);
	assert_int_equal(acl.len, 4 + 8 * count);
	reader = reader_over(acl.data, acl.len);
	assert_int_equal(read_le32(&reader), 2);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(read_le16(&reader), entries[i].tag);
		assert_int_equal(read_le16(&reader), entries[i].rights);
		assert_int_equal(read_le32(&reader), entries[i].id);
	}
	if (unknown_name)
		assert_string_equal(unknown, unknown_name);
	else
		assert_null(unknown);
	acl_names_free(names);
}

static void every_spelling_gives_the_same(void **state)
{
	static const struct entry wanted[] = {{USER_OBJ, 6, NONE}, {USER, 4, 0}, {USER, 6, 4321}, {GROUP_OBJ, 0, NONE},
	                                      {GROUP, 5, 0}, {MASK, 7, NONE}, {OTHER, 1, NONE}};
	static const char *const texts[] = {
		"user::rw-\nuser:root:r--\nuser:4321:rw-\ngroup::---\ngroup:root:r-x\nmask::rwx\nother::--x\n",
		"u::rw-,u:0:r--,u:4321:rw-,g::---,g:0:r-x,m::rwx,o::--x",
		"other::--x,mask::rwx,group:0:rx,group::,user:4321:rw,user:root:r,user::rw",
		"# file: a\nuser::rw-\nuser:root:r--\t#effective:r--\n\nuser:4321:rw-\ngroup::---\ngroup:root:r-x\nmask:rwx\nother:--x",
		"user::rw-,user:root:r--:0,user:nobody-has-this:rw-:4321,group::---,group:root:r-x:0,mask::rwx,other::--x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		expect(texts[i], wanted, ARRAY_SIZE(wanted), NULL);
}

static void who_is_not_known_here_is_left_out_and_told(void **state)
{
	static const struct entry wanted[] = {{USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {MASK, 6, NONE}, {OTHER, 0, NONE}};

	expect("user::rw-,user:nobody-has-this:rw-,group::r--,mask::rw-,other::---", wanted, ARRAY_SIZE(wanted), "nobody-has-this");
}

static void what_is_none_is_refused(void **state)
{
	static const char *const texts[] = {
		"", "garbage", "user::rw-", "user::rwz,group::r--,other::r--", "user::6,group::0,other::0",
		"user::rw-,user:0:rw-,group::---,other::---" /* no mask */, "user::rw-,group::r--,other::r--,other::r--",
		"user::rw-,group::r--,mask:0:r--,other::r--", "user::rw-,group::r--,other::r--,what::r--", "user::rw-:1:2:3,group::r--,other::r--",
	};
	struct acl_names *names = acl_names_new();

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO_BUF acl = BUF_INIT;
		const char *unknown;

		assert_int_equal(acl_parse(names, texts[i], &acl, &unknown), -EINVAL);
	}
	acl_names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_spelling_gives_the_same),
		cmocka_unit_test(who_is_not_known_here_is_left_out_and_told),
		cmocka_unit_test(what_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
