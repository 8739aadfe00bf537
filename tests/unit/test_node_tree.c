/* Trees: what is written is read again, also what others form otherwise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/repository/node_text.h"

static struct node *copy_of; /* the node that was read last; what it has is owned */

static int keep(void *arg, struct node *node)
{
	size_t *count = arg;

	node_clear(copy_of);
	*copy_of = *node;
	*node = (struct node){0};
	return (int)(++*count == 0);
}

static int read_one(const char *json)
{
	size_t count = 0;
	int r = tree_read(json, strlen(json), keep, &count);

	return r < 0 ? r : (int)count;
}

static void test_node_comes_back_with_all_it_has(void **state)
{
	struct node node = {.name = (char *)"a\xff\"\n", .mode = S_IFREG | 04644, .mtime = {-5, 7}, .atime = {1, 0}, .ctime = {2, 3}, .uid = 4,
	                    .gid = 0xffffffff, .inode = 1ULL << 62, .device_id = 9, .links = 2, .size = 1ULL << 40};
	struct node found = {0};
	AUTO_BUF json = BUF_INIT;

	copy_of = &found;
	array_add(&node.xattrs, (struct node_xattr){(char *)"user.x", (uint8_t *)"\0\xff", 2});
	array_add(&node.content, blob_id_of("a", 1));
	array_add(&node.content, blob_id_of("b", 1));
	tree_begin(&json);
	tree_add(&json, &node);
	tree_end(&json);
	buf_add_u8(&json, 0);
	assert_int_equal(read_one((char *)json.data), 1);
	assert_string_equal(found.name, node.name);
	assert_true(found.mode == node.mode && found.uid == 4 && found.gid == 0xffffffff && found.inode == 1ULL << 62 && found.links == 2);
	assert_true(found.size == node.size && found.mtime.tv_sec == -5 && found.mtime.tv_nsec == 7);
	assert_int_equal(found.xattrs.count, 1);
	assert_memory_equal(found.xattrs.items[0].value, "\0\xff", 2);
	assert_int_equal(found.content.count, 2);
	assert_true(blob_id_equal(&found.content.items[1], &node.content.items[1]));
	array_clear(&node.xattrs);
	array_clear(&node.content);
	node_clear(&found);
}

static void test_target_that_is_not_utf8_comes_back(void **state)
{
	struct node node = {.name = (char *)"l", .mode = S_IFLNK | 0777, .target = (char *)"\xff/x"}, found = {0};
	AUTO_BUF json = BUF_INIT;

	copy_of = &found;
	tree_begin(&json);
	tree_add(&json, &node);
	tree_end(&json);
	buf_add_u8(&json, 0);
	assert_int_equal(read_one((char *)json.data), 1);
	assert_string_equal(found.target, "\xff/x");
	node_clear(&found);
}

static void test_trees_are_read_however_they_are_formed(void **state)
{
	struct node found = {0};

	copy_of = &found;
	assert_int_equal(read_one("{\"nodes\":[]}\n"), 0);
	assert_int_equal(read_one("{\"nodes\":null}"), 0);
	assert_int_equal(read_one("{ \"nodes\" : [ {\"name\":\"a\",\"type\":\"dir\"} ] }"), 1);
	assert_int_equal(read_one("{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\"},{\"name\":\"b\",\"type\":\"file\",\"content\":[]}]}"), 2);
	node_clear(&found);
}

/* As file systems give them that hash, and mounts of backups. */
static void test_numbers_take_all_of_64_bits(void **state)
{
	struct node found = {0};

	copy_of = &found;
	assert_int_equal(read_one("{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"inode\":18446744073709551615,\"device_id\":9223372036854775808,"
	                          "\"size\":18446744073709551613,\"links\":18446744073709551612,\"device\":18446744073709551611,\"uid\":4294967295}]}"), 1);
	assert_true(found.inode == UINT64_MAX && found.device_id == 1ULL << 63 && found.size == UINT64_MAX - 2 && found.links == UINT64_MAX - 3);
	assert_true(found.rdev == UINT64_MAX - 4 && found.uid == UINT32_MAX);
	node_clear(&found);
}

static int keep_inode(void *arg, struct node *node)
{
	uint64_t *inodes = arg;

	inodes[node->name[0] - 'a'] = node->inode;
	return 0;
}

static void test_inodes_that_differ_in_their_last_bit_are_two(void **state)
{
	static const char json[] = "{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"inode\":18446744073709551614,\"links\":2},"
				   "{\"name\":\"b\",\"type\":\"file\",\"inode\":18446744073709551615,\"links\":2}]}\n";
	uint64_t inodes[2];

	assert_int_equal(tree_read(json, strlen(json), keep_inode, inodes), 0);
	assert_true(inodes[0] == UINT64_MAX - 1 && inodes[1] == UINT64_MAX);
}

static void test_fields_come_in_any_order_among_others(void **state)
{
	struct node found = {0};

	copy_of = &found;
	assert_int_equal(read_one("{\"version\":{\"of\":[1,null]},\"nodes\":[{\"subtree\":null,\"content\":null,\"links\":null,\"inode\":7,"
	                          "\"generic_attributes\":{\"x\":[-1.5e3]},\"extended_attributes\":[{\"value\":null,\"why\":1,\"name\":\"user.x\"}],"
	                          "\"type\":\"symlink\",\"linktarget\":\"\\u00e4\\/b\",\"mode\":134218239,\"name\":\"a\\u0062\"}],\"more\":true}"), 1);
	assert_string_equal(found.name, "ab");
	assert_string_equal(found.target, "\xc3\xa4/b");
	assert_true(found.mode == (S_IFLNK | 0777) && found.inode == 7 && found.xattrs.count == 1 && found.xattrs.items[0].len == 0);
	node_clear(&found);
}

static void test_what_is_no_tree_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"nodes\":[{}]}", "{\"nodes\":[{\"name\":\"a\"}]}", "{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\"}",
		"{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\"},]}", "{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"content\":[\"12\"]}]}",
		"{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\",\"inode\":18446744073709551616}]}",
		"{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\",\"uid\":4294967296}]}", "{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\",\"size\":-1}]}",
		"{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\",\"size\":1.5}]}", "{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\",\"name\":\"b\"}]}",
		"{\"nodes\":[{\"name\":\"\xff\",\"type\":\"dir\"}]}", "{\"nodes\":[{\"name\":\"\\u0000\",\"type\":\"dir\"}]}",
		"{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"extended_attributes\":[{\"value\":\"\"}]}]}", "{\"nodes\":[]} x",
		"{\"nodes\":[],\"nodes\":[]}",
		"{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\",\"mtime\":\"yesterday\"}]}", "{\"nodes\":[{\"name\":\"\\\\x0\",\"type\":\"dir\"}]}",
	};
	struct node found = {0};

	copy_of = &found;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(read_one(bad[i]), -EBADMSG);
	node_clear(&found);
}

/* --- nodes as they stand in the text --- */

static void add(struct buf *json, const char *name, uint32_t mode, uint64_t inode)
{
	struct node node = {.name = (char *)name, .mode = mode, .inode = inode, .has_subtree = S_ISDIR(mode), .subtree = blob_id_of(name, 1)};

	array_add(&node.content, blob_id_of(name, strlen(name)));
	tree_add(json, &node);
	array_clear(&node.content);
}

static void test_nodes_in_a_text_say_what_they_are_of(void **state)
{
	static const char *const names[] = {"a", "b<\xff\"\n", "c\\x41", "\xc3\xa4"};
	const struct blob_id subtree = blob_id_of(names[2], 1);
	struct node_texts texts = {0};
	AUTO_BUF json = BUF_INIT;

	tree_begin(&json);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		add(&json, names[i], i == 2 ? S_IFDIR | 0755 : S_IFREG | 0644, UINT64_MAX - i);
	tree_end(&json);
	assert_int_equal(node_texts_read((char *)json.data, json.len, &texts), 0);
	assert_int_equal(texts.count, ARRAY_SIZE(names));
	for (size_t i = 0; i < texts.count; i++) {
		const struct node_text *text = &texts.items[i];

		assert_true(text->inode == UINT64_MAX - i && text->has_subtree == (i == 2));
		assert_true(json_text_is(&text->type, i == 2 ? "dir" : "file"));
		for (size_t j = 0; j < texts.count; j++)
			assert_true((node_text_compare(text, names[j]) > 0) == (strcmp(names[i], names[j]) > 0) &&
			            (node_text_compare(text, names[j]) == 0) == (i == j));
	}
	assert_true(blob_id_equal(&texts.items[2].subtree, &subtree));
	assert_true(node_text_compare(&texts.items[0], "") > 0 && node_text_compare(&texts.items[0], "aa") < 0);
	array_clear(&texts);
}

static void test_nodes_that_are_taken_over_as_they_are_make_the_same_tree(void **state)
{
	AUTO_BUF json = BUF_INIT, again = BUF_INIT;
	struct node_texts texts = {0};
	struct node one, two;

	tree_begin(&json);
	add(&json, "a", S_IFREG | 0644, 1);
	add(&json, "b", S_IFDIR | 0755, 2);
	add(&json, "c", S_IFREG | 0644, 3);
	tree_end(&json);
	assert_int_equal(node_texts_read((char *)json.data, json.len, &texts), 0);
	one = (struct node){.as_is = texts.items[0].text, .as_is_len = texts.items[0].len};
	two = (struct node){.as_is = texts.items[1].text, .as_is_len = texts.items[1].len + 1 + texts.items[2].len};
	tree_begin(&again);
	tree_add(&again, &one);
	tree_add(&again, &two);
	tree_end(&again);
	assert_int_equal(again.len, json.len);
	assert_memory_equal(again.data, json.data, json.len);
	array_clear(&texts);
}

static void test_texts_of_no_tree_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"nodes\":[{}]}", "{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\"}", "{\"nodes\":[{\"name\":\"a\"},]}",
		"{\"nodes\":[{\"name\":\"a\",\"inode\":\"1\"}]}", "{\"nodes\":[{\"name\":\"a\",\"subtree\":\"12\"}]}", "{\"nodes\":[]} x", "{\"nodes\":1}",
	};
	struct node_texts texts = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(node_texts_read(bad[i], strlen(bad[i]), &texts), -EBADMSG);
	array_reset(&texts);
	assert_int_equal(node_texts_read("{\"nodes\":null}", 14, &texts), 0);
	assert_int_equal(texts.count, 0);
	array_clear(&texts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_comes_back_with_all_it_has),
		cmocka_unit_test(test_target_that_is_not_utf8_comes_back),
		cmocka_unit_test(test_trees_are_read_however_they_are_formed),
		cmocka_unit_test(test_numbers_take_all_of_64_bits),
		cmocka_unit_test(test_inodes_that_differ_in_their_last_bit_are_two),
		cmocka_unit_test(test_fields_come_in_any_order_among_others),
		cmocka_unit_test(test_what_is_no_tree_is_refused),
		cmocka_unit_test(test_nodes_in_a_text_say_what_they_are_of),
		cmocka_unit_test(test_nodes_that_are_taken_over_as_they_are_make_the_same_tree),
		cmocka_unit_test(test_texts_of_no_tree_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
