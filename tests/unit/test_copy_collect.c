/*
 * A copy that shares chunks, caught between reading the source's extents and writing the target's, while the source goes away and the
 * collector runs: GC2 (lib/reclaim/gc.c). The program runs each scenario again with a fault point that delays the copy there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "lib/tree/inodes/inode.h"
#include "tests/unit/dataset_store.h"
#include "tests/unit/fault_wait.h"

#define LEN (1U << 20)
#define SEED 7
#define POINT "copy-before-change"
#define FAULT POINT ":sleep1500"

struct copying {
	struct view *from, *to;
	struct inode *source, *target;
	pthread_t thread;
	ssize_t result;
};

static struct inode *open_file(struct view *view, const char *name)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct inode *inode;
	struct attr attr;

	if (view_lookup(view, ROOT_INO, name, &attr) == 0)
		assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	else
		assert_int_equal(view_create(view, ROOT_INO, name, &create, &attr, &inode), 0);
	return inode;
}

static void *copy_main(void *arg)
{
	struct copying *copying = arg;

	copying->result = inode_copy(copying->source, 0, copying->target, 0, LEN);
	return NULL;
}

/* Begins to copy SOURCE/file to b/file; returns when the copy holds the source's extents and has written nothing. */
static void begin_copy(struct place *place, const char *source, struct copying *copying)
{
	struct error err;

	assert_int_equal(store_view_by_name(place->store, source, &copying->from, &err), 0);
	assert_int_equal(store_head(place->store, "b", &copying->to), 0);
	copying->source = open_file(copying->from, "file");
	copying->target = open_file(copying->to, "file");
	assert_int_equal(pthread_create(&copying->thread, NULL, copy_main, copying), 0);
	fault_wait(POINT);
}

/* What was copied is there, or the copy failed. */
static void end_copy(struct place *place, struct copying *copying)
{
	AUTO_FREE uint8_t *wanted = xmalloc(LEN), *found = xmalloc(LEN);

	pthread_join(copying->thread, NULL);
	fill_random(SEED, wanted, LEN);
	if (copying->result >= 0) {
		assert_int_equal(copying->result, LEN);
		assert_int_equal(inode_read(copying->target, 0, LEN, found), LEN);
		assert_memory_equal(found, wanted, LEN);
	}
	inode_close(copying->source);
	inode_close(copying->target);
	store_view_put(place->store, copying->from);
	store_view_put(place->store, copying->to);
	/* with the reader gone, everything else goes */
	(void)collect(place->store, false, false);
	if (copying->result >= 0) {
		struct file file = {.exists = true, .len = LEN, .data = wanted};

		assert_int_equal(store_head(place->store, "b", &copying->to), 0);
		check_file(copying->to, ROOT_INO, "file", &file);
		store_view_put(place->store, copying->to);
	}
}

/* a@empty, and a file in a's head whose chunks nothing else names. */
static void prepare(struct place *place)
{
	struct snapshot_name empty = {.dataset = "a", .name = "empty"};
	AUTO_FREE uint8_t *data = xmalloc(LEN);
	struct error err;
	struct view *view;

	assert_int_equal(store_init(place->path, &small_chunks, &err), 0);
	place_open(place);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(dataset_create(place->store, "b", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(snapshot_create(place->store, &empty, 1, NULL, 0, &err), 0);
	fill_random(SEED, data, LEN);
	assert_int_equal(store_head(place->store, "a", &view), 0);
	write_file(view, ROOT_INO, "file", 0, data, LEN);
	store_view_put(place->store, view);
	assert_int_equal(store_sync(place->store), 0);
}

static void from_a_head_that_is_rolled_back(struct place *place)
{
	char guard[256];
	struct copying copying;
	struct error err = {0};

	begin_copy(place, "a", &copying);
	assert_int_equal(dataset_rollback(place->store, "a", "empty", true, guard, &err), 0);
	assert_int_equal(snapshot_destroy(place->store, "a", guard, &err), 0);
	(void)collect(place->store, false, false);
	end_copy(place, &copying);
}

static void from_a_snapshot_that_is_destroyed(struct place *place)
{
	struct snapshot_name taken = {.dataset = "a", .name = "taken"};
	struct copying copying;
	struct error err = {0};
	char guard[256];

	assert_int_equal(snapshot_create(place->store, &taken, 1, NULL, 0, &err), 0);
	assert_int_equal(dataset_rollback(place->store, "a", "empty", false, guard, &err), 0);
	begin_copy(place, "a@taken", &copying);
	/* refused, since it is being read, or else harmless */
	(void)!snapshot_destroy(place->store, "a", "taken", &err);
	(void)collect(place->store, false, false);
	end_copy(place, &copying);
}

static void from_a_file_that_is_removed(struct place *place)
{
	struct copying copying;

	begin_copy(place, "a", &copying);
	assert_int_equal(view_unlink(copying.from, ROOT_INO, "file"), 0);
	(void)collect(place->store, false, false);
	end_copy(place, &copying);
}

static const struct {
	const char *name;
	void (*run)(struct place *place);
} scenarios[] = {
	{"rollback", from_a_head_that_is_rolled_back},
	{"destroy", from_a_snapshot_that_is_destroyed},
	{"remove", from_a_file_that_is_removed},
};

/* Each scenario in a process of its own, since faults are read once. */
static void run_scenario(const char *name)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CORPUSFS_FAULT", FAULT, 1);
		execl("/proc/self/exe", "test", name, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_a_copy_from_a_head_that_is_rolled_back_keeps_its_chunks(void **state)
{
	run_scenario("rollback");
}

static void test_a_copy_from_a_snapshot_that_is_destroyed_keeps_its_chunks(void **state)
{
	run_scenario("destroy");
}

static void test_a_copy_from_a_file_that_is_removed_keeps_its_chunks(void **state)
{
	run_scenario("remove");
}

static const char *chosen;

static void test_scenario(void **state)
{
	struct place place;

	place_make(&place);
	prepare(&place);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		if (strcmp(scenarios[i].name, chosen) == 0)
			scenarios[i].run(&place);
	place_clear(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest scenario[] = {cmocka_unit_test(test_scenario)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_from_a_head_that_is_rolled_back_keeps_its_chunks),
		cmocka_unit_test(test_a_copy_from_a_snapshot_that_is_destroyed_keeps_its_chunks),
		cmocka_unit_test(test_a_copy_from_a_file_that_is_removed_keeps_its_chunks),
	};

	if (argc == 2) {
		chosen = argv[1];
		return cmocka_run_group_tests(scenario, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
