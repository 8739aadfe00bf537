#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

#include "lib/tree/files/acl.h"

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

struct ace {
	uint16_t tag, permissions;
	uint32_t id;
};

static struct buf make(const struct ace *entries, size_t count)
{
	struct buf acl = BUF_INIT;

	buf_add_le32(&acl, 2);
	for (size_t i = 0; i < count; i++) {
		buf_add_le16(&acl, entries[i].tag);
		buf_add_le16(&acl, entries[i].permissions);
		buf_add_le32(&acl, entries[i].id);
	}
	return acl;
}

#define MAKE(...) make((struct ace[]){__VA_ARGS__}, sizeof((struct ace[]){__VA_ARGS__}) / sizeof(struct ace))
#define NONE UINT32_MAX

static int check(struct buf acl)
{
	size_t entries;
	int r = acl_check(acl.data, acl.len, &entries);

	buf_clear(&acl);
	return r;
}

static void valid_acls_are_accepted(void **state)
{
	(void)state;
	assert_int_equal(check(make(NULL, 0)), 0);
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE})), 0);
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {MASK, 4, NONE}, {OTHER, 0, NONE})), 0);
	assert_int_equal(check(MAKE({USER_OBJ, 7, NONE}, {USER, 7, 5}, {USER, 1, 6}, {GROUP_OBJ, 4, NONE}, {GROUP, 4, 8},
				    {MASK, 7, NONE}, {OTHER, 0, NONE})), 0);
}

static void malformed_acls_are_refused(void **state)
{
	uint8_t version_1[] = {1, 0, 0, 0}, shortened[] = {2, 0, 0, 0, 1, 0, 6};
	size_t entries;

	(void)state;
	assert_int_equal(acl_check("", 0, &entries), -EINVAL);
	assert_int_equal(acl_check(version_1, sizeof(version_1), &entries), -EINVAL);
	assert_int_equal(acl_check(shortened, sizeof(shortened), &entries), -EINVAL);
	/* no end, wrong order, twice, no mask, no id, bits that are no permissions, unknown tag */
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE})), -EINVAL);
	assert_int_equal(check(MAKE({GROUP_OBJ, 6, NONE}, {USER_OBJ, 4, NONE}, {OTHER, 0, NONE})), -EINVAL);
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE})), -EINVAL);
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {USER, 6, 1}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE})), -EINVAL);
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {USER, 6, NONE}, {GROUP_OBJ, 4, NONE}, {MASK, 0, NONE}, {OTHER, 0, NONE})),
			 -EINVAL);
	assert_int_equal(check(MAKE({USER_OBJ, 8, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE})), -EINVAL);
	assert_int_equal(check(MAKE({USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE}, {64, 0, NONE})), -EINVAL);
}

static void a_mode_follows_from_an_acl(void **state)
{
	AUTO_BUF plain = MAKE({USER_OBJ, 6, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 1, NONE});
	AUTO_BUF named = MAKE({USER_OBJ, 7, NONE}, {USER, 7, 5}, {GROUP_OBJ, 4, NONE}, {MASK, 6, NONE}, {OTHER, 0, NONE});
	bool equivalent;
	uint32_t mode;

	(void)state;
	assert_int_equal(acl_to_mode(plain.data, plain.len, S_IFREG | 04777, &mode, &equivalent), 0);
	assert_int_equal(mode, S_IFREG | 04641);
	assert_true(equivalent);
	assert_int_equal(acl_to_mode(named.data, named.len, S_IFREG | 0777, &mode, &equivalent), 0);
	assert_int_equal(mode, S_IFREG | 0760);
	assert_false(equivalent);
}

static void chmod_changes_the_mask_if_there_is_one(void **state)
{
	AUTO_BUF acl = MAKE({USER_OBJ, 7, NONE}, {USER, 7, 5}, {GROUP_OBJ, 4, NONE}, {MASK, 6, NONE}, {OTHER, 0, NONE});
	AUTO_BUF wanted = MAKE({USER_OBJ, 5, NONE}, {USER, 7, 5}, {GROUP_OBJ, 4, NONE}, {MASK, 1, NONE}, {OTHER, 2, NONE});
	AUTO_BUF plain = MAKE({USER_OBJ, 7, NONE}, {GROUP_OBJ, 4, NONE}, {OTHER, 0, NONE});
	AUTO_BUF wanted_plain = MAKE({USER_OBJ, 5, NONE}, {GROUP_OBJ, 1, NONE}, {OTHER, 2, NONE});

	(void)state;
	assert_int_equal(acl_chmod(&acl, 0512), 0);
	assert_memory_equal(acl.data, wanted.data, wanted.len);
	assert_int_equal(acl_chmod(&plain, 0512), 0);
	assert_memory_equal(plain.data, wanted_plain.data, wanted_plain.len);
}

static void a_default_acl_is_inherited_within_the_mode(void **state)
{
	AUTO_BUF named = MAKE({USER_OBJ, 7, NONE}, {USER, 7, 5}, {GROUP_OBJ, 5, NONE}, {MASK, 7, NONE}, {OTHER, 4, NONE});
	AUTO_BUF wanted = MAKE({USER_OBJ, 6, NONE}, {USER, 7, 5}, {GROUP_OBJ, 5, NONE}, {MASK, 6, NONE}, {OTHER, 4, NONE});
	AUTO_BUF plain = MAKE({USER_OBJ, 7, NONE}, {GROUP_OBJ, 5, NONE}, {OTHER, 0, NONE});
	AUTO_BUF access = BUF_INIT;
	uint32_t mode;

	(void)state;
	assert_int_equal(acl_inherit(named.data, named.len, S_IFREG | 0666, &mode, &access), 0);
	assert_int_equal(mode, S_IFREG | 0664);
	assert_int_equal(access.len, wanted.len);
	assert_memory_equal(access.data, wanted.data, wanted.len);
	assert_int_equal(acl_inherit(plain.data, plain.len, S_IFDIR | 02777, &mode, &access), 0);
	assert_int_equal(mode, S_IFDIR | 02750);
	assert_int_equal(access.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_acls_are_accepted),
		cmocka_unit_test(malformed_acls_are_refused),
		cmocka_unit_test(a_mode_follows_from_an_acl),
		cmocka_unit_test(chmod_changes_the_mask_if_there_is_one),
		cmocka_unit_test(a_default_acl_is_inherited_within_the_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
