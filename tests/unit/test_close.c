#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "tests/unit/dataset_store.h"

#define TEXT "what somebody wrote"

/* cmocka's jump out of a failed assertion must not leave a child: it would run the parent's tests. */
#define REQUIRE(condition)                                                      \
	do {                                                                    \
		if (!(condition)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			abort();                                                \
		}                                                               \
	} while (0)

/* The passes of a fault point from `first` to `last` fail. */
static char *failing(const char *point, unsigned first, unsigned last)
{
	struct buf text = BUF_INIT;

	for (unsigned i = first; i <= last; i++)
		buf_addf(&text, "%s%s:eio:%u", i > first ? "," : "", point, i);
	return (char *)text.data;
}

/* The variable of the fault points is read once in a process, so each case runs in one of its own. */
static void run_with(char *fault, void (*run)(struct place *place))
{
	struct place place;
	int status;
	pid_t child;

	place_make(&place);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		run(&place);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	remove_tree(place.dir);
	free(fault);
}

/* An open store whose dataset has something that is not committed. */
static void open_dirty(struct place *place)
{
	struct error err = {0};
	struct view *view;

	REQUIRE(store_init(place->path, &small_chunks, &err) == 0);
	REQUIRE(store_open(place->path, &small_store, &place->store, &err) == 0);
	REQUIRE(dataset_create(place->store, "d", 0755, 0, 0, 0, &err) == 0);
	REQUIRE(store_head(place->store, "d", &view) == 0);
	write_file(view, ROOT_INO, "file", 0, TEXT, strlen(TEXT));
	store_view_put(place->store, view);
}

static bool has_text(struct place *place)
{
	char found[sizeof(TEXT)] = "";
	struct inode *inode;
	struct view *view;
	struct attr attr;

	REQUIRE(store_head(place->store, "d", &view) == 0);
	REQUIRE(view_lookup(view, ROOT_INO, "file", &attr) == 0);
	REQUIRE(inode_open(view, attr.ino, &inode) == 0);
	ssize_t got = inode_read(inode, 0, sizeof(found), found);
	inode_close(inode);
	store_view_put(place->store, view);
	return got == (ssize_t)strlen(TEXT) && strcmp(found, TEXT) == 0;
}

static void run_lost(struct place *place)
{
	open_dirty(place);
	REQUIRE(store_close(place->store) == -EIO);
}

static void run_late(struct place *place)
{
	struct error err = {0};

	open_dirty(place);
	REQUIRE(store_close(place->store) == 0);
	REQUIRE(store_open(place->path, &small_store, &place->store, &err) == 0);
	REQUIRE(has_text(place));
	REQUIRE(store_close(place->store) == 0);
}

static void what_is_lost_at_the_end_is_told(void **state)
{
	run_with(failing("commit-before-store", 1, 50), run_lost);
	run_with(failing("commit-before-write", 1, 50), run_lost);
}

static void a_commit_that_fails_once_loses_nothing(void **state)
{
	run_with(failing("commit-before-store", 1, 1), run_late);
	run_with(failing("commit-before-write", 1, 2), run_late);
}

/* It is refused before anything of it is closed, so nothing needs to be committed. */
static void run_not_destroyed(struct place *place)
{
	struct error err = {0};

	open_dirty(place);
	REQUIRE(dataset_destroy(place->store, "d", DATASET_DESTROY_EMPTY_ONLY, &err) == -ENOTEMPTY);
	REQUIRE(has_text(place));
	REQUIRE(dataset_destroy(place->store, "d", 0, &err) == 0);
	REQUIRE(store_close(place->store) == 0);
}

static void a_dataset_that_is_not_empty_is_not_closed(void **state)
{
	run_with(failing("commit-before-store", 1, 1), run_not_destroyed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_lost_at_the_end_is_told),
		cmocka_unit_test(a_commit_that_fails_once_loses_nothing),
		cmocka_unit_test(a_dataset_that_is_not_empty_is_not_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
