#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "lib/tree/files/acl.h"
#include "tests/unit/tree_store.h"

static const uint8_t plain_acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255,
				    32, 0, 0, 0, 255, 255, 255, 255};
static const uint8_t named_acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 5, 0, 0, 0,
				    4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};

static uint64_t make(struct view *view, const char *name, uint32_t mode)
{
	struct create create = {.mode = mode, .target = S_ISLNK(mode) ? "t" : NULL};
	struct attr attr;

	assert_int_equal(view_create(view, ROOT_INO, name, &create, &attr, NULL), 0);
	return attr.ino;
}

static uint32_t mode_of(struct view *view, uint64_t ino)
{
	struct attr attr;

	assert_int_equal(view_getattr(view, ino, &attr), 0);
	return attr.mode & 07777;
}

static void values_are_kept(void **state)
{
	struct tree_store *store = *state;
	uint64_t ino = make(store->view, "f", S_IFREG | 0644);
	AUTO_FREE uint8_t *big = xcalloc(1, XATTR_VALUE_MAX + 1);
	AUTO_BUF value = BUF_INIT;
	AUTO_BUF names = BUF_INIT;

	fill_noise(big, XATTR_VALUE_MAX, 3);
	assert_int_equal(view_xattr_set(store->view, ino, "user.empty", "", 0, 0), 0);
	assert_int_equal(view_xattr_set(store->view, ino, "user.big", big, XATTR_VALUE_MAX, 0), 0);
	assert_int_equal(view_xattr_set(store->view, ino, "user.big", big, XATTR_VALUE_MAX + 1, 0), -E2BIG);
	tree_store_close(store);
	tree_store_open(store, false);
	assert_int_equal(view_xattr_get(store->view, ino, "user.empty", &value), 0);
	assert_int_equal(value.len, 0);
	assert_int_equal(view_xattr_get(store->view, ino, "user.big", &value), 0);
	assert_int_equal(value.len, XATTR_VALUE_MAX);
	assert_memory_equal(value.data, big, XATTR_VALUE_MAX);
	assert_int_equal(view_xattr_list(store->view, ino, &names), 0);
	assert_int_equal(names.len, sizeof("user.big\0user.empty"));
	assert_memory_equal(names.data, "user.big\0user.empty", names.len);
	assert_int_equal(view_xattr_remove(store->view, ino, "user.big"), 0);
	assert_int_equal(view_xattr_remove(store->view, ino, "user.big"), -ENODATA);
	assert_int_equal(view_xattr_get(store->view, ino, "user.big", &value), -ENODATA);
}

static void flags_and_names_are_checked(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t ino = make(view, "f", S_IFREG | 0644);
	AUTO_BUF value = BUF_INIT;
	char name[257];

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(view_xattr_set(view, ino, "user.a", "1", 1, XATTR_SET_REPLACE), -ENODATA);
	assert_int_equal(view_xattr_set(view, ino, "user.a", "1", 1, XATTR_SET_CREATE), 0);
	assert_int_equal(view_xattr_set(view, ino, "user.a", "2", 1, XATTR_SET_CREATE), -EEXIST);
	assert_int_equal(view_xattr_set(view, ino, "user.a", "3", 1, XATTR_SET_REPLACE), 0);
	assert_int_equal(view_xattr_set(view, ino, name, "1", 1, 0), -ERANGE);
	assert_int_equal(view_xattr_set(view, ino, "", "1", 1, 0), -ERANGE);
	assert_int_equal(view_xattr_set(view, 4711, "user.a", "1", 1, 0), -ESTALE);
	assert_int_equal(view_xattr_get(view, ino, "user.a", &value), 0);
	assert_memory_equal(value.data, "3", 1);
}

static void an_access_acl_and_the_mode_agree(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t ino = make(view, "f", S_IFREG | 02777);
	struct setattr set = {.mask = SET_MODE, .mode = 0710};
	AUTO_BUF value = BUF_INIT;
	struct attr attr;

	assert_int_equal(view_xattr_set(view, ino, ACL_ACCESS, named_acl, sizeof(named_acl), XATTR_SET_KILL_SGID), 0);
	assert_int_equal(mode_of(view, ino), 0670);
	assert_int_equal(view_setattr(view, ino, &set, &attr), 0);
	assert_int_equal(view_xattr_get(view, ino, ACL_ACCESS, &value), 0);
	assert_int_equal(value.len, sizeof(named_acl));
	assert_int_equal(value.data[6], 7);      /* the owner */
	assert_int_equal(value.data[4 + 24 + 2], 1); /* the mask */
	assert_int_equal(view_xattr_set(view, ino, ACL_ACCESS, named_acl, sizeof(named_acl) - 1, 0), -EINVAL);
	assert_int_equal(view_xattr_set(view, ino, ACL_ACCESS, plain_acl, sizeof(plain_acl), 0), 0);
	assert_int_equal(mode_of(view, ino), 0640);
	assert_int_equal(view_xattr_get(view, ino, ACL_ACCESS, &value), -ENODATA);
}

static void a_default_acl_belongs_to_directories(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t dir = make(view, "d", S_IFDIR | 0755), file = make(view, "f", S_IFREG | 0644), link = make(view, "l", S_IFLNK | 0777);
	AUTO_BUF value = BUF_INIT;

	assert_int_equal(view_xattr_set(view, dir, ACL_DEFAULT, plain_acl, sizeof(plain_acl), 0), 0);
	assert_int_equal(mode_of(view, dir), 0755);
	assert_int_equal(view_xattr_get(view, dir, ACL_DEFAULT, &value), 0);
	assert_int_equal(view_xattr_set(view, dir, ACL_DEFAULT, plain_acl, 4, 0), 0);
	assert_int_equal(view_xattr_get(view, dir, ACL_DEFAULT, &value), -ENODATA);
	assert_int_equal(view_xattr_set(view, file, ACL_DEFAULT, plain_acl, sizeof(plain_acl), 0), -EACCES);
	assert_int_equal(view_xattr_set(view, link, ACL_ACCESS, plain_acl, sizeof(plain_acl), 0), -EOPNOTSUPP);
}

static void a_capability_falls_with_the_owner_and_on_write(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f");
	uint64_t ino = inode_ino(inode);
	struct setattr set = {.mask = SET_UID, .uid = 9};
	AUTO_BUF value = BUF_INIT;
	struct attr attr;

	assert_int_equal(view_xattr_set(store->view, ino, "security.capability", "cap", 3, 0), 0);
	assert_int_equal(view_setattr(store->view, ino, &set, &attr), 0);
	assert_int_equal(view_xattr_get(store->view, ino, "security.capability", &value), -ENODATA);
	assert_int_equal(view_xattr_set(store->view, ino, "security.capability", "cap", 3, 0), 0);
	assert_int_equal(inode_write(inode, 0, "x", 1, 0), 0);
	assert_int_equal(view_xattr_get(store->view, ino, "security.capability", &value), 0);
	assert_int_equal(inode_write(inode, 0, "x", 1, WRITE_KILL_PRIV), 0);
	assert_int_equal(view_xattr_get(store->view, ino, "security.capability", &value), -ENODATA);
	inode_close(inode);
}

static void attributes_can_come_with_the_inode(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	struct xattr_init xattrs[] = {{"user.a", "1", 1}, {ACL_ACCESS, named_acl, sizeof(named_acl)}};
	struct create create = {.mode = S_IFREG | 0670, .xattrs = xattrs, .xattr_count = 2};
	AUTO_BUF value = BUF_INIT;
	struct attr attr;

	assert_int_equal(view_create(view, ROOT_INO, "f", &create, &attr, NULL), 0);
	assert_int_equal(view_xattr_get(view, attr.ino, "user.a", &value), 0);
	assert_int_equal(view_xattr_get(view, attr.ino, ACL_ACCESS, &value), 0);
	assert_memory_equal(value.data, named_acl, sizeof(named_acl));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(values_are_kept),
		TREE_TEST(flags_and_names_are_checked),
		TREE_TEST(an_access_acl_and_the_mode_agree),
		TREE_TEST(a_default_acl_belongs_to_directories),
		TREE_TEST(a_capability_falls_with_the_owner_and_on_write),
		TREE_TEST(attributes_can_come_with_the_inode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
