/* The identity of a tree whose members come one by one: what does not matter, what does, and what is no tree. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/chunk/digest.h"
#include "lib/identity/tree_digest.h"
#include "tests/unit/memory.h"

#define FILE_BYTES (3U << 20)
#define DEPTH 2000
#define NAME_BYTES 100 /* of each directory on the way down */

static void add(struct tree_digest *tree, const struct tree_member *member)
{
	assert_int_equal(tree_digest_member(tree, member), 0);
}

/* A tree with a large file, mostly zeros, which comes in pieces of `step` bytes; `further`: the second name of it is told to be one. */
static void make(size_t step, bool as_zeros, bool further, uint8_t ret_identity[IDENTITY_LEN])
{
	static uint8_t data[FILE_BYTES];
	struct tree_digest *tree = tree_digest_new();
	const struct tree_member file = {.path = "a/file", .mode = S_IFREG | 0644, .size = FILE_BYTES, .has_others = true};
	struct tree_member second = file;

	memset(data, 7, 100);
	add(tree, &(struct tree_member){.path = "", .mode = S_IFDIR | 0755});
	add(tree, &(struct tree_member){.path = "a", .mode = S_IFDIR | 0755});
	second.path = "b";
	second.first = further ? "a/file" : NULL;
	for (size_t turn = 0; turn < 2; turn++) {
		add(tree, turn == 0 ? &file : &second);
		for (size_t at = 0; at < FILE_BYTES && (turn == 0 || !further); at += step) {
			if (as_zeros && at >= 100)
				tree_digest_zeros(tree, MIN(step, FILE_BYTES - at));
			else
				tree_digest_data(tree, data + at, MIN(step, FILE_BYTES - at));
		}
	}
	add(tree, &(struct tree_member){.path = "c", .mode = S_IFLNK | 0777, .target = "a"});
	assert_int_equal(tree_digest_final(tree, ret_identity), 0);
	tree_digest_free(tree);
}

static void how_content_comes_does_not_matter(void **state)
{
	uint8_t first[IDENTITY_LEN], other[IDENTITY_LEN];

	make(100, false, false, first);
	make(FILE_BYTES, false, false, other);
	assert_memory_equal(first, other, IDENTITY_LEN);
	make(100, true, false, other);
	assert_memory_equal(first, other, IDENTITY_LEN);
	make(1000, false, true, other);
	assert_memory_equal(first, other, IDENTITY_LEN);
}

/* corpusfs-identity says so of a directory with mode 0755 and nothing in it. */
static void an_empty_tree_has_the_identity_of_the_definition(void **state)
{
	const uint8_t bytes[] = {'c', 'o', 'r', 'p', 'u', 's', 'f', 's', '-', 'd', 'i', 'r', 0, 0xed, 0x41, 0, 0};
	struct tree_digest *tree = tree_digest_new();
	struct digest *digest = digest_new();
	uint8_t identity[IDENTITY_LEN], wanted[IDENTITY_LEN];

	add(tree, &(struct tree_member){.path = "", .mode = S_IFDIR | 0755});
	assert_int_equal(tree_digest_final(tree, identity), 0);
	digest_once(digest, bytes, sizeof(bytes), wanted);
	assert_memory_equal(identity, wanted, IDENTITY_LEN);
	digest_free(digest);
	tree_digest_free(tree);
}

static void what_is_no_tree_is_refused(void **state)
{
	static const struct tree_member root = {.path = "", .mode = S_IFDIR | 0755};
	static const struct tree_member wrong[] = {
		{.path = "a/b", .mode = S_IFREG | 0644},
		{.path = "", .mode = S_IFDIR | 0755},
		{.path = "a", .mode = S_IFREG | 0644, .first = "b"},
	};
	uint8_t identity[IDENTITY_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct tree_digest *tree = tree_digest_new();

		add(tree, &root);
		assert_int_equal(tree_digest_member(tree, &wrong[i]), -EBADMSG);
		tree_digest_free(tree);
	}
	for (size_t i = 0; i < 2; i++) {
		struct tree_digest *tree = tree_digest_new();

		assert_int_equal(tree_digest_member(tree, &(struct tree_member){.path = i == 0 ? "a" : "", .mode = S_IFREG | 0644}), -EBADMSG);
		assert_int_equal(tree_digest_final(tree, identity), -EBADMSG);
		tree_digest_free(tree);
	}
}

/* Of what is `depth` directories down, made of a path that leads there or further. */
static const char *path_at(struct buf *path, size_t depth, const char *name)
{
	path->len = depth == 0 ? 0 : depth * (NAME_BYTES + 1) - 1;
	buf_addf(path, "%s%s", depth == 0 ? "" : "/", name);
	return (char *)path->data;
}

/* In each directory are a file and the next directory; on the way back comes another name of the file. All their paths together are 600 MB. */
static void a_deep_tree_takes_one_path_of_memory(void **state)
{
	struct tree_digest *tree = tree_digest_new();
	AUTO_BUF path = BUF_INIT, first = BUF_INIT;
	char name[NAME_BYTES + 1] = "";
	uint8_t identity[IDENTITY_LEN];
	size_t before;

	memset(name, 'd', NAME_BYTES);
	for (size_t i = 0; i < DEPTH; i++)
		(void)path_at(&path, i, name);
	buf_add(&first, path.data, path.len);
	before = memory_begin();
	add(tree, &(struct tree_member){.path = "", .mode = S_IFDIR | 0755});
	for (size_t i = 0; i < DEPTH; i++) {
		add(tree, &(struct tree_member){.path = path_at(&path, i, "a"), .mode = S_IFREG | 0644, .has_others = true});
		add(tree, &(struct tree_member){.path = path_at(&path, i, name), .mode = S_IFDIR | 0755});
	}
	for (size_t i = DEPTH; i-- > 0;)
		add(tree, &(struct tree_member){.path = path_at(&path, i, "e"), .mode = S_IFREG | 0644, .first = path_at(&first, i, "a")});
	memory_end(before, 8U << 20);
	assert_int_equal(tree_digest_final(tree, identity), 0);
	tree_digest_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(how_content_comes_does_not_matter),
		cmocka_unit_test(an_empty_tree_has_the_identity_of_the_definition),
		cmocka_unit_test(what_is_no_tree_is_refused),
		cmocka_unit_test(a_deep_tree_takes_one_path_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
