/* The identity of a tree whose members come one by one: what does not matter, what does, and what is no tree. */
#include <errno.h>
#include <pthread.h>
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

/* --- contents that come later --- */

#define DIRS 20
#define FILES 30
#define GIVERS 4

struct late {
	struct tree_parts *parts;
	struct late_file {
		struct tree_part *part;
		uint8_t content[DIGEST_LEN];
	} files[DIRS * FILES];
};

struct giver {
	struct late *late;
	size_t number;
	pthread_t thread;
};

/* From the end to the beginning; each gives its part of them. */
static void *give(void *arg)
{
	struct giver *giver = arg;

	for (size_t i = DIRS * FILES; i-- > 0;)
		if (i % GIVERS == giver->number)
			tree_parts_content(giver->late->parts, giver->late->files[i].part, giver->late->files[i].content);
	return NULL;
}

/* DIRS directories, each in the last one, with FILES files of a few bytes before and after the next one. */
static void make_late(struct late *late, struct tree_digest *tree)
{
	struct digest *digest = digest_new();
	AUTO_BUF path = BUF_INIT;
	size_t count = 0, ends[DIRS];

	for (size_t turn = 0; turn < 2 * DIRS; turn++) {
		const bool is_down = turn < DIRS;
		const size_t depth = is_down ? turn : 2 * DIRS - 1 - turn;
		struct tree_member member = {.path = "", .mode = S_IFDIR | 0755};
		struct tree_part *part = NULL;

		if (is_down) {
			if (depth > 0)
				buf_addf(&path, "%sm", depth > 1 ? "/" : "");
			buf_add_u8(&path, 0);
			path.len--;
			ends[depth] = path.len;
			member.path = (char *)path.data;
			add(tree, &member);
			assert_int_equal(tree_parts_member(late->parts, &member, &part), 0);
			assert_null(part);
		}
		for (size_t i = 0; i < FILES / 2; i++) {
			AUTO_FREE char *name = xasprintf("%.*s%s%c%02zu", (int)ends[depth], (char *)path.data, depth > 0 ? "/" : "", is_down ? 'a' : 'z', i);
			AUTO_FREE char *text = xasprintf("%zu", count);
			struct late_file *file = &late->files[count++];

			member = (struct tree_member){.path = name, .mode = S_IFREG | 0644, .size = strlen(text)};
			add(tree, &member);
			tree_digest_data(tree, text, strlen(text));
			assert_int_equal(tree_parts_member(late->parts, &member, &file->part), 0);
			assert_non_null(file->part);
			digest_once(digest, text, strlen(text), file->content);
		}
	}
	assert_int_equal(count, DIRS * FILES);
	digest_free(digest);
}

static void contents_may_come_later_in_any_order_from_any_thread(void **state)
{
	struct late late = {.parts = tree_parts_new()};
	struct tree_digest *tree = tree_digest_new();
	struct giver givers[GIVERS];
	uint8_t wanted[IDENTITY_LEN], found[IDENTITY_LEN];

	make_late(&late, tree);
	assert_int_equal(tree_digest_final(tree, wanted), 0);
	for (size_t i = 0; i < GIVERS; i++) {
		givers[i] = (struct giver){.late = &late, .number = i};
		assert_int_equal(pthread_create(&givers[i].thread, NULL, give, &givers[i]), 0);
	}
	for (size_t i = 0; i < GIVERS; i++)
		pthread_join(givers[i].thread, NULL);
	assert_int_equal(tree_parts_final(late.parts, found), 0);
	assert_memory_equal(found, wanted, IDENTITY_LEN);
	tree_parts_free(late.parts);
	tree_digest_free(tree);
}

static void without_a_content_there_is_no_identity(void **state)
{
	struct late late = {.parts = tree_parts_new()};
	struct tree_digest *tree = tree_digest_new();
	uint8_t identity[IDENTITY_LEN];

	make_late(&late, tree);
	for (size_t i = 0; i < DIRS * FILES; i++)
		if (i != 17)
			tree_parts_content(late.parts, late.files[i].part, late.files[i].content);
	assert_int_equal(tree_parts_final(late.parts, identity), -EBADMSG);
	tree_parts_free(late.parts);
	tree_digest_free(tree);
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
		cmocka_unit_test(contents_may_come_later_in_any_order_from_any_thread),
		cmocka_unit_test(without_a_content_there_is_no_identity),
		cmocka_unit_test(a_deep_tree_takes_one_path_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
