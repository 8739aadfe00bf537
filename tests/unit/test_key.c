#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/format/key.h"

static int compare(const struct tree_key *a, const struct tree_key *b)
{
	int order = memcmp(a->bytes, b->bytes, MIN(a->len, b->len));

	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static void test_bytes_are_as_specified(void **state)
{
	struct tree_key key = tree_key_at(tree_stem_entry(0x01020304, 0x1112131415161718, "ab"), 1);

	assert_int_equal(key.len, 4 + 8 + 1 + 3 + 8);
	assert_memory_equal(key.bytes, "\1\2\3\4\x11\x12\x13\x14\x15\x16\x17\x18\3ab\0\xff\xff\xff\xff\xff\xff\xff\xfe", key.len);
	key = tree_stem_extent(1, 2, 3);
	assert_int_equal(key.len, 21);
	assert_memory_equal(key.bytes, "\0\0\0\1\0\0\0\0\0\0\0\2\2\0\0\0\0\0\0\0\3", key.len);

	struct small_key small = catalog_key_snapshot(5, "x");
	assert_int_equal(small.len, 6);
	assert_memory_equal(small.bytes, "S\0\0\0\5x", 6);
	small = catalog_key_name('D', "train");
	assert_memory_equal(small.bytes, "Dtrain", 6);
	small = catalog_key_orphan(1, 2);
	assert_int_equal(small.len, 13);
	small = catalog_key_identity(1, 2);
	assert_memory_equal(small.bytes, "I\0\0\0\1\0\0\0\2", 9);
	small = catalog_key_u32('P', 9);
	assert_memory_equal(small.bytes, "P\0\0\0\11", 5);
}

static void test_parse_gives_back_the_parts(void **state)
{
	char name[NAME_LEN_MAX + 1];
	struct tree_key_parts parts;

	memset(name, 'n', NAME_LEN_MAX);
	name[NAME_LEN_MAX] = '\0';
	struct tree_key key = tree_key_at(tree_stem_xattr(7, INO_MAX, name), UINT64_MAX);
	assert_int_equal(tree_key_parse(key.bytes, key.len, &parts), 0);
	assert_int_equal(parts.family, 7);
	assert_true(parts.ino == INO_MAX && parts.epoch == UINT64_MAX);
	assert_int_equal(parts.kind, KEY_XATTR);
	assert_int_equal(parts.name_len, NAME_LEN_MAX);
	assert_string_equal(parts.name, name);

	key = tree_key_at(tree_stem_extent(1, 2, 1ULL << 60), 0);
	assert_int_equal(tree_key_parse(key.bytes, key.len, &parts), 0);
	assert_true(parts.kind == KEY_EXTENT && parts.offset == 1ULL << 60 && parts.epoch == 0);
	key = tree_key_at(tree_stem_inode(1, 2), 33);
	assert_int_equal(tree_key_parse(key.bytes, key.len, &parts), 0);
	assert_true(parts.kind == KEY_INODE && parts.epoch == 33 && parts.ino == 2);
	key = tree_key_at(tree_stem_content(1, INO_MAX), 33);
	assert_int_equal(tree_key_parse(key.bytes, key.len, &parts), 0);
	assert_true(parts.kind == KEY_CONTENT && parts.epoch == 33 && parts.ino == INO_MAX);
	assert_true(tree_key_is_content(&key));
	key = tree_stem_entry(1, INO_MAX, "\4");
	assert_false(tree_key_is_content(&key));
}

static void test_newest_version_comes_first(void **state)
{
	struct tree_key order[] = {
		tree_key_at(tree_stem_inode(1, 2), 9),        tree_key_at(tree_stem_inode(1, 2), 8),
		tree_key_at(tree_stem_xattr(1, 2, "a"), 1),   tree_key_at(tree_stem_extent(1, 2, 0), 300),
		tree_key_at(tree_stem_extent(1, 2, 0), 2),    tree_key_at(tree_stem_extent(1, 2, 256), 1),
		tree_key_at(tree_stem_entry(1, 2, "a"), 2),   tree_key_at(tree_stem_entry(1, 2, "a"), 1),
		tree_key_at(tree_stem_entry(1, 2, "a\1"), 5), tree_key_at(tree_stem_entry(1, 2, "ab"), 5),
		tree_key_at(tree_stem_inode(1, 3), 1),        tree_key_at(tree_stem_inode(2, 0), 1),
	};

	for (size_t i = 1; i < ARRAY_SIZE(order); i++)
		assert_true(compare(&order[i - 1], &order[i]) < 0);
}

static void test_prefixes_bound_their_keys(void **state)
{
	struct tree_key key = tree_key_at(tree_stem_entry(1, 0xff, "\xff\xff"), 0);
	struct tree_key prefixes[] = {tree_prefix_family(1), tree_prefix_inode(1, 0xff), tree_prefix_kind(1, 0xff, KEY_ENTRY)};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct tree_key end = tree_prefix_end(prefixes[i]);
		assert_true(compare(&prefixes[i], &key) < 0 && compare(&key, &end) < 0);
	}
	struct tree_key next = tree_prefix_end(tree_prefix_inode(1, 0xff));
	assert_memory_equal(next.bytes, "\0\0\0\1\0\0\0\0\0\0\1", next.len);
	assert_int_equal(tree_prefix_end(tree_prefix_family(UINT32_MAX)).len, 0);
}

static void test_damaged_tree_keys_are_refused(void **state)
{
	struct tree_key keys[] = {tree_key_at(tree_stem_inode(1, 2), 3), tree_key_at(tree_stem_xattr(1, 2, "user.x"), 3),
	                          tree_key_at(tree_stem_extent(1, 2, 3), 4), tree_key_at(tree_stem_entry(1, 2, "name"), 3),
	                          tree_key_at(tree_stem_content(1, 2), 3)};
	struct tree_key_parts parts;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		for (size_t len = 0; len < keys[i].len; len++) {
			AUTO_FREE uint8_t *copy = xmalloc(len);
			memcpy(copy, keys[i].bytes, len);
			assert_int_equal(tree_key_parse(copy, len, &parts), -EBADMSG);
		}
		keys[i].bytes[keys[i].len] = 0;
		assert_int_equal(tree_key_parse(keys[i].bytes, keys[i].len + 1, &parts), -EBADMSG);
		keys[i].bytes[12] = 5;
		assert_int_equal(tree_key_parse(keys[i].bytes, keys[i].len, &parts), -EBADMSG);
	}
	struct tree_key empty_name = tree_prefix_kind(1, 2, KEY_ENTRY);
	empty_name.bytes[empty_name.len++] = 0;
	empty_name = tree_key_at(empty_name, 1);
	assert_int_equal(tree_key_parse(empty_name.bytes, empty_name.len, &parts), -EBADMSG);
	struct tree_key two_nuls = tree_stem_entry(1, 2, "abc");
	two_nuls.bytes[14] = 0;
	two_nuls = tree_key_at(two_nuls, 1);
	assert_int_equal(tree_key_parse(two_nuls.bytes, two_nuls.len, &parts), -EBADMSG);
}

static void test_short_keys(void **state)
{
	uint32_t family;
	uint64_t epoch, ino, id;
	struct small_key key = touched_key(1, 2, 3);

	assert_int_equal(touched_key_parse(key.bytes, key.len, &family, &epoch, &ino), 0);
	assert_true(family == 1 && epoch == 2 && ino == 3);
	assert_int_equal(touched_key_parse(key.bytes, key.len - 1, &family, &epoch, &ino), -EBADMSG);
	assert_int_equal(touched_key_parse(key.bytes, key.len + 1, &family, &epoch, &ino), -EBADMSG);
	key = chunk_key(CHUNK_BULK | 77);
	assert_int_equal(chunk_key_parse(key.bytes, key.len, &id), 0);
	assert_true(id == (CHUNK_BULK | 77));
	assert_int_equal(chunk_key_parse(key.bytes, 7, &id), -EBADMSG);
	assert_int_equal(chunk_key_parse(NULL, 0, &id), -EBADMSG);
}

static void test_names(void **state)
{
	char name[NAME_LEN_MAX + 2];

	memset(name, 'x', sizeof(name) - 1);
	name[NAME_LEN_MAX + 1] = '\0';
	assert_int_equal(name_check(name), -ENAMETOOLONG);
	name[NAME_LEN_MAX] = '\0';
	assert_int_equal(name_check(name), 0);
	assert_int_equal(name_check("..."), 0);
	assert_int_equal(name_check("a\nb\xff"), 0);
	assert_int_equal(name_check(""), -EINVAL);
	assert_int_equal(name_check("."), -EINVAL);
	assert_int_equal(name_check(".."), -EINVAL);
	assert_int_equal(name_check("a/b"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_are_as_specified),
		cmocka_unit_test(test_parse_gives_back_the_parts),
		cmocka_unit_test(test_newest_version_comes_first),
		cmocka_unit_test(test_prefixes_bound_their_keys),
		cmocka_unit_test(test_damaged_tree_keys_are_refused),
		cmocka_unit_test(test_short_keys),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
