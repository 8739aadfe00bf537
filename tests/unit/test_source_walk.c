#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/transfer/source_walk.h"

static char top[64];

static int setup(void **state)
{
	snprintf(top, sizeof(top), "/tmp/corpusfs-walk-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s", top);

	return system(command);
}

static void make(const char *script)
{
	AUTO_FREE char *command = xasprintf("cd %s && %s", top, script);

	assert_int_equal(system(command), 0);
}

static void go_below(struct source_walk *walk, const struct source_dir *dir)
{
	struct dirent **names;
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY), count = scandirat(fd, ".", &names, NULL, alphasort);

	assert_true(count >= 0);
	for (int i = 0; i < count; i++) {
		if (names[i]->d_type == DT_DIR && names[i]->d_name[0] != '.')
			source_walk_below(walk, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	close(fd);
}

static struct source_walk *begin(int *ret_fd)
{
	struct impersonate self = impersonate_as(geteuid(), getegid(), NULL, 0);

	*ret_fd = open(top, O_RDONLY | O_DIRECTORY);
	return source_walk_new(*ret_fd, &self);
}

static void expect_next(struct source_walk *walk, const char *path)
{
	struct source_dir *dir;
	char *text;

	assert_int_equal(source_walk_next(walk, &dir), 1);
	text = trail_text(dir->trail, "");
	assert_string_equal(text, path);
	free(text);
	go_below(walk, dir);
}

static void directories_come_depth_first(void **state)
{
	struct source_dir *dir;
	int fd;
	struct source_walk *walk;

	make("mkdir -p a/b/c a/d e && touch a/file && ln -s a link");
	walk = begin(&fd);
	for (const char *const *path = (const char *const[]){"", "a", "a/b", "a/b/c", "a/d", "e", NULL}; *path; path++)
		expect_next(walk, *path);
	assert_int_equal(source_walk_next(walk, &dir), 0);
	source_walk_free(walk);
	close(fd);
}

static unsigned open_descriptors(void)
{
	DIR *all = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(all))
		count++;
	closedir(all);
	return count;
}

static void any_depth_takes_few_descriptors(void **state)
{
	unsigned before = open_descriptors(), most = 0, seen = 0;
	struct source_dir *dir;
	int fd;
	struct source_walk *walk;

	/* Each level has a second directory, which is entered on the way back. */
	make("for i in $(seq 600); do mkdir -p a b && cd a; done");
	walk = begin(&fd);
	while (source_walk_next(walk, &dir) == 1) {
		seen++;
		most = MAX(most, open_descriptors() - before);
		go_below(walk, dir);
	}
	assert_int_equal(seen, 1 + 2 * 600);
	assert_true(most < 60);
	source_walk_free(walk);
	close(fd);
	assert_int_equal(open_descriptors(), before);
}

static void what_was_moved_away_is_told_and_the_rest_goes_on(void **state)
{
	struct source_dir *dir;
	struct trail *trail;
	int fd;
	struct source_walk *walk;

	make("mkdir -p a/b other z && cd a/b && for i in $(seq 100); do mkdir d later && cd d; done");
	walk = begin(&fd);
	expect_next(walk, "");
	expect_next(walk, "a");
	expect_next(walk, "a/b");
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(source_walk_next(walk, &dir), 1);
		go_below(walk, dir);
	}
	/* All that is still to be entered lies in a directory that is somewhere else now. */
	make("mv a/b/d/d other/moved");
	for (;;) {
		int r = source_walk_next(walk, &dir);

		if (r == 1 && dir->trail && strcmp(trail_name(dir->trail), "z") == 0)
			break;
		assert_int_not_equal(r, 0);
		if (r < 0)
			source_walk_failed(walk, &trail);
		else
			go_below(walk, dir);
	}
	source_walk_free(walk);
	close(fd);
}

static void a_link_is_not_entered(void **state)
{
	struct source_dir *dir;
	struct trail *trail;
	int fd;
	struct source_walk *walk;

	make("mkdir a && ln -s / b");
	walk = begin(&fd);
	expect_next(walk, "");
	source_walk_below(walk, "b");
	expect_next(walk, "a");
	assert_int_equal(source_walk_next(walk, &dir), -ENOTDIR);
	assert_string_equal(source_walk_failed(walk, &trail), "b");
	assert_null(trail);
	source_walk_free(walk);
	close(fd);
}

static void a_very_long_way_is_told_by_its_end(void **state)
{
	struct trail *trail = NULL;
	char *text;

	for (unsigned i = 0; i < 5000; i++) {
		struct trail *below = trail_new(trail, "ab");
		trail_put(trail);
		trail = below;
	}
	text = trail_text(trail, "name");
	assert_true(strlen(text) < PATH_MAX + NAME_MAX);
	assert_string_equal(text + strlen(text) - strlen("/ab/ab/name"), "/ab/ab/name");
	free(text);
	trail_put(trail);
	text = trail_text(NULL, "name");
	assert_string_equal(text, "name");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(directories_come_depth_first, setup, teardown),
		cmocka_unit_test_setup_teardown(any_depth_takes_few_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_moved_away_is_told_and_the_rest_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_is_not_entered, setup, teardown),
		cmocka_unit_test(a_very_long_way_is_told_by_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
