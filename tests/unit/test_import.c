#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "dataset_store.h"
#include "lib/base/queue.h"
#include "lib/transfer/archive_in.h"
#include "lib/transfer/export.h"
#include "lib/transfer/import.h"
#include "lib/transfer/warm.h"
#include "lib/tree/files/bulk.h"

#define SMALL 600
#define CHUNKED 50000

static int setup(void **state)
{
	static struct place place;
	struct error err = {0};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	*state = &place;
	return 0;
}

static int teardown(void **state)
{
	place_clear(*state);
	return 0;
}

static void fill(uint8_t *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
}

static struct bulk_file regular(const char *name, const void *data, size_t len)
{
	return (struct bulk_file){.dir = ROOT_INO, .name = name, .create = {.mode = S_IFREG | 0640, .uid = 7, .gid = 8},
	                          .mtime = {.tv_sec = 5, .tv_nsec = 6}, .atime = {.tv_sec = 3}, .data = data, .len = len};
}

static void assert_content(struct view *view, const char *path, const void *data, size_t len)
{
	AUTO_FREE uint8_t *got = xmalloc(len + 1);
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_resolve(view, path, &attr), 0);
	assert_int_equal(attr.size, len);
	assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	assert_int_equal(inode_read(inode, 0, len + 1, got), len);
	inode_close(inode);
	assert_memory_equal(got, data, len);
}

static void files_are_added_with_all_that_belongs_to_them(void **state)
{
	static uint8_t small[SMALL], chunked[CHUNKED];
	const struct xattr_init xattr = {.name = "user.x", .value = "y", .len = 1};
	struct bulk_file files[] = {regular("small", small, SMALL), regular("chunked", chunked, CHUNKED), regular("empty", NULL, 0),
	                            regular("link", NULL, 0), regular("fifo", NULL, 0)};
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	AUTO_BUF value = BUF_INIT;
	struct attr attr;

	fill(small, SMALL, 1);
	fill(chunked, CHUNKED, 2);
	files[1].create.xattrs = &xattr;
	files[1].create.xattr_count = 1;
	files[3].create.mode = S_IFLNK | 0777;
	files[3].create.target = "where";
	files[4].create.mode = S_IFIFO | 0600;
	assert_int_equal(view_add_files(view, files, ARRAY_SIZE(files)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		assert_int_equal(files[i].result, 0);
	store_view_put(place->store, view);
	place_reopen(place);
	view = open_head(place->store, "d");
	assert_content(view, "small", small, SMALL);
	assert_content(view, "chunked", chunked, CHUNKED);
	assert_content(view, "empty", "", 0);
	assert_int_equal(view_resolve(view, "chunked", &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0640);
	assert_int_equal(attr.uid, 7);
	assert_int_equal(attr.gid, 8);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.allocated, CHUNKED);
	assert_int_equal(attr.mtime.tv_sec, 5);
	assert_int_equal(attr.mtime.tv_nsec, 6);
	assert_int_equal(view_xattr_get(view, attr.ino, "user.x", &value), 0);
	assert_memory_equal(value.data, "y", 1);
	assert_int_equal(view_resolve(view, "link", &attr), 0);
	assert_int_equal(view_readlink(view, attr.ino, &value), 0);
	assert_string_equal((char *)value.data, "where");
	store_view_put(place->store, view);
}

static void results_are_told_file_by_file(void **state)
{
	struct bulk_file files[] = {regular("a", "1", 1), regular("a", "2", 1),  regular("b", "3", 1),
	                            regular("..", "4", 1), regular("c", "5", 1), regular("dir", "6", 1)};
	struct create create = {.mode = S_IFDIR | 0700};
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct attr attr;

	assert_int_equal(view_create(view, ROOT_INO, "dir", &create, &attr, NULL), 0);
	files[4].dir = 99999;
	files[5].replace = true;
	assert_int_equal(view_add_files(view, files, ARRAY_SIZE(files)), 0);
	assert_int_equal(files[0].result, 0);
	assert_int_equal(files[1].result, -EEXIST);
	assert_int_equal(files[2].result, 0);
	assert_int_equal(files[3].result, -EINVAL);
	assert_int_equal(files[4].result, -ESTALE);
	assert_int_equal(files[5].result, -EISDIR);
	assert_content(view, "a", "1", 1);
	assert_int_equal(view_add_files(view, files, 1), 0);
	assert_int_equal(files[0].result, -EEXIST);
	store_view_put(place->store, view);
}

static void replaced_files_go_with_what_they_had(void **state)
{
	static uint8_t old[CHUNKED], new[CHUNKED];
	struct bulk_file before = regular("f", old, CHUNKED), after = regular("f", new, CHUNKED);
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct inode *opened;
	uint8_t byte;

	fill(old, CHUNKED, 3);
	fill(new, CHUNKED, 4);
	assert_int_equal(view_add_files(view, &before, 1), 0);
	assert_int_equal(inode_open(view, before.ino, &opened), 0);
	after.replace = true;
	assert_int_equal(view_add_files(view, &after, 1), 0);
	assert_int_equal(after.result, 0);
	assert_content(view, "f", new, CHUNKED);
	assert_int_equal(inode_read(opened, 9, 1, &byte), 1);
	assert_int_equal(byte, old[9]);
	inode_close(opened);
	assert_int_equal(inode_open(view, before.ino, &opened), -ESTALE);
	store_view_put(place->store, view);
}

static void a_link_takes_the_place_of_a_file(void **state)
{
	struct bulk_file files[] = {regular("a", "1", 1), regular("b", "2", 1)};
	struct create create = {.mode = S_IFDIR | 0700};
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct attr attr;
	uint64_t replaced;

	assert_int_equal(view_add_files(view, files, 2), 0);
	assert_int_equal(view_create(view, ROOT_INO, "dir", &create, &attr, NULL), 0);
	assert_int_equal(view_link_over(view, files[0].ino, ROOT_INO, "b", &replaced), 0);
	assert_int_equal(replaced, files[1].ino);
	assert_int_equal(view_link_over(view, files[0].ino, ROOT_INO, "b", &replaced), 0);
	assert_int_equal(replaced, 0);
	assert_int_equal(view_link_over(view, files[0].ino, ROOT_INO, "c", &replaced), 0);
	assert_int_equal(view_link_over(view, files[0].ino, ROOT_INO, "dir", &replaced), -EISDIR);
	assert_content(view, "b", "1", 1);
	assert_int_equal(view_getattr(view, files[0].ino, &attr), 0);
	assert_int_equal(attr.nlink, 3);
	assert_int_equal(view_getattr(view, files[1].ino, &attr), -ESTALE);
	store_view_put(place->store, view);
}

static void a_snapshot_keeps_what_was_replaced_after_it(void **state)
{
	struct bulk_file before = regular("f", "old", 3), after = regular("f", "new", 3);
	const struct snapshot_name target = {.dataset = "d", .name = "s"};
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct error err = {0};

	assert_int_equal(view_add_files(view, &before, 1), 0);
	assert_int_equal(snapshot_create(place->store, &target, 1, "", 0, &err), 0);
	after.replace = true;
	assert_int_equal(view_add_files(view, &after, 1), 0);
	assert_content(view, "f", "new", 3);
	store_view_put(place->store, view);
	assert_int_equal(store_snapshot(place->store, "d", "s", &view), 0);
	assert_content(view, "f", "old", 3);
	assert_int_equal(view_add_files(view, &after, 1), -EROFS);
	store_view_put(place->store, view);
}

static void blocks_are_written_and_counted_in_the_budget(void **state)
{
	struct view *view = open_head(((struct place *)*state)->store, "d");
	struct create create = {.mode = S_IFREG | 0600};
	AUTO_FREE uint8_t *data = xmalloc(BULK_BLOCK + 1000);
	struct inode *inode;
	struct attr attr;
	void *block;

	fill(data, BULK_BLOCK + 1000, 3);
	assert_int_equal(view_create(view, ROOT_INO, "f", &create, &attr, &inode), 0);
	assert_int_equal(bulk_block_take(inode, &block), 0);
	bulk_block_drop(inode, block);
	for (size_t at = 0; at <= 1000; at += 1000) {
		assert_int_equal(bulk_block_take(inode, &block), 0);
		memcpy(block, data + at, BULK_BLOCK);
		assert_int_equal(bulk_block_write(inode, at, block, BULK_BLOCK), 0);
	}
	assert_int_equal(inode_commit(inode), 0);
	/* nothing is left of what was taken: else this would wait for room for ever */
	assert_int_equal(bulk_reserve(view, bulk_budget(view)), 0);
	bulk_release(view, bulk_budget(view));
	assert_int_equal(bulk_block_take(inode, &block), 0);
	assert_int_equal(bulk_block_write(inode, 1ULL << 63, block, 1), -EFBIG);
	inode_close(inode);
	assert_content(view, "f", data, BULK_BLOCK + 1000);
	store_view_put(((struct place *)*state)->store, view);
}

/* --- whole imports --- */

struct problems {
	unsigned count;
	char last[256];
};

static void note_problem(void *arg, const char *path, int code, const char *text)
{
	struct problems *problems = arg;

	problems->count++;
	snprintf(problems->last, sizeof(problems->last), "%s", path);
}

static int import(struct place *place, const char *source, struct problems *problems, struct transfer_counts *counts)
{
	AUTO_CLOSE int fd = open(source, O_RDONLY | O_CLOEXEC);
	struct import_options options = {.source = source, .source_fd = fd, .dataset = "d", .path = "", .level = 1,
	                                 .transfer = {.uid = geteuid(), .gid = getegid(), .problem = note_problem, .arg = problems}};
	struct error err = {0};

	return import_run(place->store, &options, counts, &err);
}

static char *make_source(struct place *place)
{
	char *path = xasprintf("%s/source", place->dir);
	AUTO_FREE char *script = xasprintf("mkdir -p %s/a/b && cd %s && for i in 1 2 3; do echo $i > a/b/$i; done && ln a/b/1 hard && "
	                                   "ln -s there soft && head -c 6000000 /dev/zero | tr '\\0' 'x' > big && truncate -s 9M hole", path, path);

	assert_int_equal(system(script), 0);
	return path;
}

static void a_directory_comes_in_and_goes_out(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *source = make_source(place);
	AUTO_FREE char *large = xasprintf("head -c %u /dev/urandom > %s/large", 2 * BULK_BLOCK + 70001, source);
	AUTO_FREE char *target = xasprintf("%s/target", place->dir);
	AUTO_FREE char *compare = xasprintf("diff -r --no-dereference %s %s", source, target);
	AUTO_CLOSE int target_fd = mkdir(target, 0700) == 0 ? open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct export_options options = {.source = "d", .path = "", .target = target, .target_fd = target_fd, .format = "dir",
	                                 .transfer = {.uid = geteuid(), .gid = getegid()}};
	struct warm_options warm = {.source = "d", .path = "", .transfer = {.uid = geteuid(), .gid = getegid()}};
	struct warm_result warmed = {0};
	struct problems problems = {0};
	struct transfer_counts counts;
	struct error err = {0};

	assert_int_equal(system(large), 0);
	assert_int_equal(import(place, source, &problems, &counts), 0);
	assert_int_equal(problems.count, 0);
	assert_int_equal(counts.files, 7);
	assert_int_equal(counts.links, 1);
	assert_int_equal(import(place, source, &problems, &counts), 0);
	assert_int_equal(counts.files, 0);
	assert_int_equal(counts.skipped, 7);
	assert_int_equal(export_run(place->store, &options, &counts, &err), 0);
	assert_int_equal(counts.files, 7);
	assert_int_equal(system(compare), 0);
	assert_int_equal(warm_run(place->store, &warm, &warmed, &err), 0);
	assert_true(warmed.chunks > 0);
}

static void an_archive_that_ends_early_leaves_what_was_whole(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *source = make_source(place);
	AUTO_FREE char *archive = xasprintf("%s/a.tar", place->dir);
	AUTO_FREE char *script = xasprintf("tar -C %s -cf %s a big hole && truncate -s 5000000 %s", source, archive, archive);
	struct problems problems = {0};
	struct transfer_counts counts;
	struct attr attr;

	assert_int_equal(system(script), 0);
	assert_int_equal(import(place, archive, &problems, &counts), -EBADMSG);
	assert_int_equal(counts.files, 3);
	struct view *view = open_head(place->store, "d");
	assert_content(view, "a/b/2", "2\n", 2);
	assert_int_equal(view_resolve(view, "big", &attr), -ENOENT);
	store_view_put(place->store, view);
}

static void what_cannot_be_opened_does_nothing(void **state)
{
	struct problems problems = {0};
	struct transfer_counts counts;

	assert_int_equal(import(*state, "/nowhere", &problems, &counts), -EBADF);
	assert_int_equal(import(*state, "/dev/null", &problems, &counts), -EINVAL);
	assert_int_equal(import(*state, "/proc/self/cmdline", &problems, &counts), -EBADMSG);
}

/* --- queue --- */

static void *push_numbers(void *arg)
{
	for (uintptr_t i = 1; i <= 1000; i++)
		queue_push(arg, (void *)i);
	queue_close(arg);
	return NULL;
}

static void a_queue_gives_all_in_order_then_ends(void **state)
{
	struct queue *queue = queue_new(3);
	uintptr_t expected = 1;
	pthread_t thread;
	void *item;

	assert_int_equal(pthread_create(&thread, NULL, push_numbers, queue), 0);
	while ((item = queue_pop(queue)))
		assert_int_equal((uintptr_t)item, expected++);
	assert_int_equal(expected, 1001);
	assert_null(queue_pop(queue));
	pthread_join(thread, NULL);
	queue_free(queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_are_added_with_all_that_belongs_to_them, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_are_written_and_counted_in_the_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(results_are_told_file_by_file, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_files_go_with_what_they_had, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_takes_the_place_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(a_snapshot_keeps_what_was_replaced_after_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_directory_comes_in_and_goes_out, setup, teardown),
		cmocka_unit_test_setup_teardown(an_archive_that_ends_early_leaves_what_was_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_opened_does_nothing, setup, teardown),
		cmocka_unit_test(a_queue_gives_all_in_order_then_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
