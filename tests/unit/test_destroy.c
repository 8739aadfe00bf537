/* What destroying, or asking whether it would be refused, leaves alone. Faults are read once, so scenarios with one are processes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/store/catalog.h"
#include "tests/unit/dataset_store.h"
#include "tests/unit/fault_wait.h"

#define FILES 20
#define POINT "prune-before-join"

static void take(struct store *store, const char *name)
{
	struct snapshot_name wanted = {.dataset = "a", .name = name};

	assert_int_equal(snapshot_create(store, &wanted, 1, NULL, 0, NULL), 0);
}

static void write_files(struct store *store, unsigned state)
{
	struct view *head = open_head(store, "a");
	uint8_t content[6000];

	for (unsigned i = 0; i < FILES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "file%u", i);
		fill_random(i * 100UL + state, content, sizeof(content));
		write_file(head, ROOT_INO, name, 0, content, sizeof(content));
	}
	assert_int_equal(view_sync(head), 0);
	store_view_put(store, head);
}

static void make(struct place *place)
{
	place_init(place);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 1, NULL), 0);
}

/* --- without a fault --- */

/* A snapshot that nobody uses stays open for a while, with its inodes in memory. */
static void who_asks_whether_a_snapshot_can_go_leaves_it_open(void **state)
{
	struct snapshot_name name = {.dataset = "a", .name = "one"};
	struct tree_usage before, after;
	struct place place;
	struct view *view;
	struct attr attr;

	make(&place);
	write_files(place.store, 1);
	take(place.store, "one");
	assert_int_equal(store_snapshot(place.store, "a", "one", &view), 0);
	assert_int_equal(view_lookup(view, ROOT_INO, "file1", &attr), 0);
	store_view_put(place.store, view);
	tree_usage(store_tree(place.store), &before);
	assert_int_equal(snapshots_check_destroy(place.store, &name, 1, NULL), 0);
	tree_usage(store_tree(place.store), &after);
	assert_int_equal(after.cached_inodes, before.cached_inodes);
	assert_int_equal(store_snapshot(place.store, "a", "one", &view), 0);
	assert_int_equal(snapshots_check_destroy(place.store, &name, 1, NULL), -EBUSY);
	store_view_put(place.store, view);
	place_clear(&place);
}

struct refused {
	struct store *store;
	bool whole; /* the dataset */
	atomic_bool done;
	int result;
};

static void *destroy_both(void *arg)
{
	static const struct snapshot_name names[] = {{.dataset = "a", .name = "one"}, {.dataset = "a", .name = "two"}};
	struct refused *refused = arg;

	refused->result = refused->whole ? dataset_destroy(refused->store, "a", DATASET_DESTROY_SNAPSHOTS, NULL)
	                                 : snapshots_destroy(refused->store, names, ARRAY_SIZE(names), NULL);
	atomic_store(&refused->done, true);
	return NULL;
}

/* How often others change the store while he waits for the reader. */
static unsigned change_meanwhile(struct place *place, bool whole, unsigned *number)
{
	struct refused refused = {.store = place->store, .whole = whole};
	unsigned taken = 0;
	struct view *view;
	pthread_t thread;
	char name[32];

	assert_int_equal(pthread_create(&thread, NULL, destroy_both, &refused), 0);
	while (!atomic_load(&refused.done)) {
		assert_int_equal(store_snapshot(place->store, "a", "one", &view), 0);
		store_view_put(place->store, view);
		assert_int_equal(store_head(place->store, "a", &view), 0);
		store_view_put(place->store, view);
		snprintf(name, sizeof(name), "other-%u", (*number)++);
		take(place->store, name);
		taken += !atomic_load(&refused.done);
		usleep(1000);
	}
	pthread_join(thread, NULL);
	assert_int_equal(refused.result, -EBUSY);
	return taken;
}

static void what_is_not_destroyed_in_the_end_is_there_all_the_time(void **state)
{
	unsigned number = 0;
	struct place place;
	struct view *reader;

	make(&place);
	take(place.store, "one");
	take(place.store, "two");
	assert_int_equal(store_snapshot(place.store, "a", "two", &reader), 0);
	for (int whole = 0; whole < 2; whole++) {
		unsigned taken = 0;

		/* he waits for a second, in which a busy disk may not sync four times: then once more */
		for (unsigned tries = 0; tries < 20 && taken <= 3; tries++)
			taken = change_meanwhile(&place, whole, &number);
		assert_true(taken > 3);
	}
	store_view_put(place.store, reader);
	assert_int_equal(dataset_destroy(place.store, "a", DATASET_DESTROY_SNAPSHOTS, NULL), 0);
	place_clear(&place);
}

/* Somebody reads each time when it is looked whether anybody does, a few times, and lets go at once. */
struct passing {
	struct store *store;
	uint32_t number;
	unsigned rest;
	struct view *view;
	pthread_t thread;
};

static void *let_go(void *arg)
{
	struct passing *passing = arg;

	clock_pause_us(2000);
	store_view_put(passing->store, passing->view);
	return NULL;
}

static bool read_in_passing(void *arg, uint32_t view)
{
	struct passing *passing = arg;

	if (passing->rest == 0 || view != passing->number)
		return false;
	if (passing->view)
		pthread_join(passing->thread, NULL);
	passing->rest--;
	if (store_view_by_number(passing->store, view, &passing->view) < 0 || pthread_create(&passing->thread, NULL, let_go, passing) != 0)
		abort();
	return false;
}

/* Who destroys waits for a second in all, in which a busy machine may not get so far: then once more. */
static int destroy_while_read_in_passing(struct passing *passing, bool whole)
{
	int result = -EBUSY;

	for (unsigned tries = 0; tries < 20 && result == -EBUSY; tries++) {
		passing->rest = 5;
		passing->view = NULL;
		result = whole ? dataset_destroy(passing->store, "a", DATASET_DESTROY_SNAPSHOTS, NULL) : snapshot_destroy(passing->store, "a", "one", NULL);
		if (passing->view)
			pthread_join(passing->thread, NULL);
	}
	return result;
}

static void who_reads_in_passing_is_waited_for_as_often_as_he_comes(void **state)
{
	for (int whole = 0; whole < 2; whole++) {
		struct snapshot_info info;
		struct place place;

		make(&place);
		take(place.store, "one");
		assert_int_equal(snapshot_get(place.store, "a", "one", &info), 0);
		struct passing passing = {.store = place.store, .number = info.view};
		const struct store_hooks hooks = {.busy = read_in_passing, .arg = &passing};
		store_set_hooks(place.store, &hooks);
		assert_int_equal(destroy_while_read_in_passing(&passing, whole), 0);
		assert_int_equal(passing.rest, 0);
		snapshot_info_clear(&info);
		place_clear(&place);
	}
}

static void who_does_not_want_to_wait_is_told_at_once(void **state)
{
	const struct snapshot_name name = {.dataset = "a", .name = "one"};
	struct place place;
	struct view *reader;

	make(&place);
	take(place.store, "one");
	assert_int_equal(store_snapshot(place.store, "a", "one", &reader), 0);
	assert_int_equal(snapshot_destroy_now(place.store, &name, NULL), -EAGAIN);
	assert_int_equal(dataset_destroy_now(place.store, "a", DATASET_DESTROY_SNAPSHOTS, NULL), -EAGAIN);
	store_view_put(place.store, reader);
	assert_int_equal(snapshot_destroy_now(place.store, &name, NULL), 0);
	assert_int_equal(dataset_destroy_now(place.store, "a", DATASET_DESTROY_SNAPSHOTS, NULL), 0);
	place_clear(&place);
}

/* --- the disk is full: no commit succeeds --- */

/* Each of them lets one pass fail, and the next pass comes to the next. */
#define FULL "commit-before-store:enospc"
#define FULL_PASSES 200

static void check_buffered(struct store *store)
{
	struct file file = {.exists = true, .len = 6000, .data = xmalloc(6000)};
	struct view *head = open_head(store, "a");

	fill_random(7, file.data, file.len);
	check_file(head, ROOT_INO, "file", &file);
	store_view_put(store, head);
	file_clear(&file);
}

static void refuse_to_destroy(struct place *place)
{
	uint8_t content[6000];
	struct view *head, *reader;

	make(place);
	take(place->store, "one");
	head = open_head(place->store, "a");
	fill_random(7, content, sizeof(content));
	write_file(head, ROOT_INO, "file", 0, content, sizeof(content));
	store_view_put(place->store, head);
	assert_int_equal(store_snapshot(place->store, "a", "one", &reader), 0);
	assert_int_equal(dataset_destroy(place->store, "a", DATASET_DESTROY_SNAPSHOTS, NULL), -EBUSY);
	store_view_put(place->store, reader);
	check_buffered(place->store);
	assert_int_equal(snapshot_destroy(place->store, "a", "one", NULL), 0);
	assert_int_equal(dataset_destroy(place->store, "a", DATASET_DESTROY_EMPTY_ONLY, NULL), -ENOTEMPTY);
	check_buffered(place->store);
	assert_int_equal(dataset_destroy(place->store, "a", 0, NULL), -EIO);
	check_buffered(place->store);
	int ignored = store_close(place->store);
	(void)ignored;
}

/* --- the last reader of a rolled back head goes while others are pruned --- */

struct leaving {
	struct store *store;
	struct view *reader;
};

/* When the collector has chosen whom it deals with, a fault keeps it there. */
static void *leave_meanwhile(void *arg)
{
	struct leaving *leaving = arg;

	fault_wait(POINT);
	store_view_put(leaving->store, leaving->reader);
	return NULL;
}

static void leave_while_others_are_pruned(struct place *place)
{
	struct leaving leaving;
	pthread_t thread;

	make(place);
	write_files(place->store, 1);
	take(place->store, "old");
	write_files(place->store, 2);
	leaving = (struct leaving){place->store, open_head(place->store, "a")};
	assert_int_equal(dataset_rollback(place->store, "a", "old", false, NULL, NULL), 0);
	take(place->store, "passing");
	assert_int_equal(snapshot_destroy(place->store, "a", "passing", NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, leave_meanwhile, &leaving), 0);
	collect(place->store, true, false);
	pthread_join(thread, NULL);
	collect(place->store, false, false);
	assert_int_equal(count_chunks(place->store), FILES);
	/* an entry, a record and an extent of each file, and the root's record */
	assert_int_equal(count_records(place->store), 3 * FILES + 1);
	assert_int_equal(store_close(place->store), 0);
}

/* --- */

static const struct {
	const char *name;
	void (*run)(struct place *place);
} scenarios[] = {
	{"full", refuse_to_destroy},
	{"leave", leave_while_others_are_pruned},
};

static void run_scenario(const char *name, const char *fault)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		execl("/proc/self/exe", "test", name, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void what_cannot_be_committed_stays_when_a_dataset_is_not_destroyed(void **state)
{
	AUTO_BUF faults = BUF_INIT;

	for (unsigned pass = 1; pass <= FULL_PASSES; pass++)
		buf_addf(&faults, "%s" FULL, pass > 1 ? "," : "");
	buf_addf(&faults, ",destroy-before-write:eio:2");
	run_scenario("full", (const char *)faults.data);
}

static void what_a_head_saw_goes_though_its_reader_left_meanwhile(void **state)
{
	run_scenario("leave", POINT ":sleep1000");
}

static const char *chosen;

static void test_scenario(void **state)
{
	struct place place;

	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		if (strcmp(scenarios[i].name, chosen) == 0)
			scenarios[i].run(&place);
	remove_tree(place.dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest scenario[] = {cmocka_unit_test(test_scenario)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asks_whether_a_snapshot_can_go_leaves_it_open),
		cmocka_unit_test(what_is_not_destroyed_in_the_end_is_there_all_the_time),
		cmocka_unit_test(who_reads_in_passing_is_waited_for_as_often_as_he_comes),
		cmocka_unit_test(who_does_not_want_to_wait_is_told_at_once),
		cmocka_unit_test(what_cannot_be_committed_stays_when_a_dataset_is_not_destroyed),
		cmocka_unit_test(what_a_head_saw_goes_though_its_reader_left_meanwhile),
	};

	if (argc == 2) {
		chosen = argv[1];
		return cmocka_run_group_tests(scenario, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
