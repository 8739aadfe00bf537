/*
 * A read caught between looking up extents and reading their chunks, while these are overwritten and the collector runs: GC3
 * (lib/reclaim/gc.c). The program runs each scenario again with a fault point that delays the read there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "lib/tree/records/extent.h"
#include "tests/unit/dataset_store.h"
#include "tests/unit/fault_wait.h"

#define LEN (1U << 20)
#define POINT "read-before-chunks"
#define FAULT POINT ":sleep1000"

struct reading {
	struct inode *inode;
	pthread_t thread;
	uint8_t *bytes;
	ssize_t result;
};

static void *read_main(void *arg)
{
	struct reading *reading = arg;

	reading->result = inode_read(reading->inode, 0, LEN, reading->bytes);
	return NULL;
}

static void begin_read(struct reading *reading, struct view *view)
{
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, "file", &attr), 0);
	assert_int_equal(inode_open(view, attr.ino, &reading->inode), 0);
	reading->bytes = xmalloc(LEN);
	assert_int_equal(pthread_create(&reading->thread, NULL, read_main, reading), 0);
	fault_wait(POINT);
}

static void end_read(struct reading *reading, const uint8_t *wanted)
{
	pthread_join(reading->thread, NULL);
	assert_int_equal(reading->result, LEN);
	assert_memory_equal(reading->bytes, wanted, LEN);
	inode_close(reading->inode);
	free(reading->bytes);
}

struct chunk_list {
	ARRAY_FIELDS(uint64_t);
};

static int add_chunk(void *arg, const struct extent *extent)
{
	struct chunk_list *list = arg;

	array_add(list, extent->record.chunk);
	return 0;
}

static struct chunk_list chunks_of(struct view *view)
{
	struct chunk_list list = {0};
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, "file", &attr), 0);
	assert_int_equal(view_extents(view, attr.ino, add_chunk, &list), 0);
	assert_true(list.count > 10);
	return list;
}

static void while_the_file_is_overwritten(struct place *place)
{
	AUTO_FREE uint8_t *before = xmalloc(LEN), *after = xmalloc(LEN);
	struct reading reading = {0};
	struct chunk_list chunks;
	struct error err = {0};
	struct view *view;

	fill_random(1, before, LEN);
	fill_random(2, after, LEN);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(store_head(place->store, "a", &view), 0);
	write_file(view, ROOT_INO, "file", 0, before, LEN);
	assert_int_equal(view_sync(view), 0);
	chunks = chunks_of(view);
	begin_read(&reading, view);
	write_file(view, ROOT_INO, "file", 0, after, LEN);
	assert_int_equal(view_sync(view), 0);
	(void)collect(place->store, false, false);
	end_read(&reading, before);
	/* they are gone, and nobody took that for a loss */
	struct chunk_damage *list;
	assert_int_equal(chunks_list_damage(store_chunks(place->store), &list), 0);
	free(list);
	for (size_t i = 0; i < chunks.count; i++)
		assert_int_equal(chunks_verify(store_chunks(place->store), chunks.items[i]), -ENOENT);
	array_clear(&chunks);
	store_view_put(place->store, view);
}

static int overlap(const struct chunk_list *a, const struct chunk_list *b)
{
	int both = 0;

	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++)
			both += a->items[i] == b->items[k];
	return both;
}

/* A snapshot is read whose chunks are copied. */
static void while_chunks_are_repacked(struct place *place)
{
	struct snapshot_name taken = {.dataset = "a", .name = "taken"};
	AUTO_FREE uint8_t *bytes = xmalloc(LEN);
	struct reading reading = {0};
	struct chunk_list before, after;
	struct error err = {0};
	struct view *view, *snapshot;

	fill_random(1, bytes, LEN);
	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(store_head(place->store, "a", &view), 0);
	write_file(view, ROOT_INO, "file", 0, bytes, LEN);
	assert_int_equal(view_sync(view), 0);
	for (size_t at = 0; at + 6000 <= LEN; at += 12000) {
		fill_random(at + 2, bytes + at, 6000);
		write_file(view, ROOT_INO, "file", at, bytes + at, 6000);
	}
	assert_int_equal(view_sync(view), 0);
	assert_int_equal(snapshot_create(place->store, &taken, 1, NULL, 0, &err), 0);
	assert_int_equal(store_view_by_name(place->store, "a@taken", &snapshot, &err), 0);
	before = chunks_of(snapshot);
	begin_read(&reading, snapshot);
	(void)collect(place->store, false, false);
	end_read(&reading, bytes);
	after = chunks_of(snapshot);
	assert_true((size_t)overlap(&before, &after) < before.count);
	array_clear(&before);
	array_clear(&after);
	store_view_put(place->store, snapshot);
	store_view_put(place->store, view);
}

static const struct {
	const char *name;
	void (*run)(struct place *place);
} scenarios[] = {
	{"overwrite", while_the_file_is_overwritten},
	{"repack", while_chunks_are_repacked},
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

static void test_a_read_keeps_the_chunks_of_a_file_that_is_overwritten(void **state)
{
	run_scenario("overwrite");
}

static void test_a_read_of_a_snapshot_keeps_the_chunks_that_are_repacked(void **state)
{
	run_scenario("repack");
}

static const char *chosen;

static void test_scenario(void **state)
{
	struct place place;

	place_init(&place);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		if (strcmp(scenarios[i].name, chosen) == 0)
			scenarios[i].run(&place);
	place_clear(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest scenario[] = {cmocka_unit_test(test_scenario)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_read_keeps_the_chunks_of_a_file_that_is_overwritten),
		cmocka_unit_test(test_a_read_of_a_snapshot_keeps_the_chunks_that_are_repacked),
	};

	if (argc == 2) {
		chosen = argv[1];
		return cmocka_run_group_tests(scenario, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
