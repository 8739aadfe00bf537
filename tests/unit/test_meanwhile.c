/*
 * What comes in or goes out while somebody changes the same files. The program runs each scenario again with a fault point at which the import
 * or export rests until the change is made.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "lib/transfer/export.h"
#include "lib/tree/files/bulk.h"
#include "tests/unit/dataset_store.h"
#include "tests/unit/fault_wait.h"

#define REPLACE "bulk-before-replace"
#define COMMITTED "export-after-commit"
#define SIZE (1U << 20)

/* --- files that replace others --- */

#define FILES 3

struct adding {
	struct view *view;
	struct bulk_file files[FILES];
	pthread_t thread;
	int result;
};

static const char *const names[FILES] = {"a", "b", "c"};

static void *add_main(void *arg)
{
	struct adding *adding = arg;

	adding->result = view_add_files(adding->view, adding->files, FILES);
	return NULL;
}

static void fill_files(struct adding *adding, const char *content)
{
	for (size_t i = 0; i < FILES; i++)
		adding->files[i] = (struct bulk_file){.dir = ROOT_INO, .name = names[i], .create = {.mode = S_IFREG | 0600}, .data = content,
		                                      .len = strlen(content), .replace = true};
}

/* The names are there; new files for them have looked at them, and replace none yet. */
static void begin_adding(struct adding *adding, struct place *place)
{
	adding->view = open_head(place->store, "d");
	fill_files(adding, "old");
	assert_int_equal(view_add_files(adding->view, adding->files, FILES), 0);
	fill_files(adding, "new content");
	assert_int_equal(pthread_create(&adding->thread, NULL, add_main, adding), 0);
	fault_wait(REPLACE);
}

static void end_adding(struct adding *adding)
{
	struct attr attr;

	pthread_join(adding->thread, NULL);
	assert_int_equal(adding->result, 0);
	for (size_t i = 0; i < FILES; i++) {
		if (adding->files[i].result < 0)
			continue;
		assert_int_equal(view_lookup(adding->view, ROOT_INO, names[i], &attr), 0);
		assert_int_equal(attr.ino, adding->files[i].ino);
		assert_int_equal(attr.nlink, 1);
	}
}

static void a_name_is_removed(struct place *place)
{
	struct adding adding;

	begin_adding(&adding, place);
	assert_int_equal(view_unlink(adding.view, ROOT_INO, names[0]), 0);
	end_adding(&adding);
	for (size_t i = 0; i < FILES; i++)
		assert_int_equal(adding.files[i].result, 0);
	assert_int_equal(adding.files[0].replaced, 0);
	assert_true(adding.files[1].replaced > 0);
	store_view_put(place->store, adding.view);
}

static void a_name_becomes_a_directory(struct place *place)
{
	struct create create = {.mode = S_IFDIR | 0700}, file = {.mode = S_IFREG | 0600};
	struct adding adding;
	struct attr dir, below, attr;

	begin_adding(&adding, place);
	assert_int_equal(view_unlink(adding.view, ROOT_INO, names[0]), 0);
	assert_int_equal(view_create(adding.view, ROOT_INO, names[0], &create, &dir, NULL), 0);
	assert_int_equal(view_create(adding.view, dir.ino, "below", &file, &below, NULL), 0);
	end_adding(&adding);
	assert_int_equal(adding.files[0].result, -EISDIR);
	assert_int_equal(adding.files[0].replaced, 0);
	assert_int_equal(adding.files[1].result, 0);
	assert_int_equal(view_resolve(adding.view, "a/below", &attr), 0);
	assert_int_equal(attr.ino, below.ino);
	store_view_put(place->store, adding.view);
}

/* --- an export of a file with a hole --- */

struct exporting {
	struct store *store;
	struct export_options options;
	struct transfer_counts counts;
	struct error err;
	pthread_t thread;
	int result;
};

static void *export_main(void *arg)
{
	struct exporting *exporting = arg;

	exporting->result = export_run(exporting->store, &exporting->options, &exporting->counts, &exporting->err);
	return NULL;
}

/* The hole is written into after the export has committed the file: it must see that, or find what was written. */
static void a_hole_is_written_into(struct place *place)
{
	AUTO_FREE char *target = xasprintf("%s/target", place->dir), *path = xasprintf("%s/file", target);
	AUTO_CLOSE int fd = mkdir(target, 0700) == 0 ? open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct exporting exporting = {.store = place->store,
	                              .options = {.source = "d", .path = "", .target = target, .target_fd = fd, .format = "dir",
	                                          .transfer = {.uid = geteuid(), .gid = getegid()}}};
	struct create create = {.mode = S_IFREG | 0600};
	struct setattr longer = {.mask = SET_SIZE, .size = SIZE};
	struct view *view = open_head(place->store, "d");
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_create(view, ROOT_INO, "file", &create, &attr, &inode), 0);
	assert_int_equal(inode_write(inode, 0, "first", 5, 0), 0);
	assert_int_equal(view_setattr(view, attr.ino, &longer, &attr), 0);
	assert_int_equal(pthread_create(&exporting.thread, NULL, export_main, &exporting), 0);
	fault_wait(COMMITTED);
	assert_int_equal(inode_write(inode, SIZE / 2, "second", 6, 0), 0);
	pthread_join(exporting.thread, NULL);
	assert_int_equal(exporting.result, 0);
	/* not a file with zeros in its place */
	assert_int_equal(exporting.counts.problems, 1);
	assert_int_equal(access(path, F_OK), -1);
	inode_close(inode);
	store_view_put(place->store, view);
}

/* --- each in a process of its own, since faults are read once --- */

static const struct scenario {
	const char *name, *fault;
	void (*run)(struct place *place);
} scenarios[] = {
	{"removed", REPLACE ":sleep1000", a_name_is_removed},
	{"directory", REPLACE ":sleep1000", a_name_becomes_a_directory},
	{"hole", COMMITTED ":sleep1000", a_hole_is_written_into},
};

static const struct scenario *find_scenario(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	abort();
}

static void run_scenario(const char *name)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CORPUSFS_FAULT", find_scenario(name)->fault, 1);
		execl("/proc/self/exe", "test", name, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_a_name_that_is_removed_before_it_is_replaced_is_made_anew(void **state)
{
	run_scenario("removed");
}

static void test_a_name_that_becomes_a_directory_before_it_is_replaced_stays_one(void **state)
{
	run_scenario("directory");
}

static void test_an_export_sees_what_is_written_into_a_hole(void **state)
{
	run_scenario("hole");
}

static const char *chosen;

static void test_scenario(void **state)
{
	struct place place;
	struct error err = {0};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	find_scenario(chosen)->run(&place);
	place_clear(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest scenario[] = {cmocka_unit_test(test_scenario)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_name_that_is_removed_before_it_is_replaced_is_made_anew),
		cmocka_unit_test(test_a_name_that_becomes_a_directory_before_it_is_replaced_stays_one),
		cmocka_unit_test(test_an_export_sees_what_is_written_into_a_hole),
	};

	if (argc == 2) {
		chosen = argv[1];
		return cmocka_run_group_tests(scenario, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
