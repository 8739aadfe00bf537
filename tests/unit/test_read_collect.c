/*
 * A reader caught between looking up extents and reading their chunks, while these are overwritten or moved and the collector runs: GC3
 * (lib/reclaim/gc.c). The program runs each scenario again with a fault point that delays the reader there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "lib/backup/content_blobs.h"
#include "lib/tree/records/extent.h"
#include "tests/unit/fault_wait.h"
#include "tests/unit/repository_place.h"
#include "tests/unit/stream_store.h"

#define LEN (1U << 20)
#define READ "read-before-chunks"
#define BACKUP "backup-before-chunks"
#define SEND "send-before-chunk"

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
	fault_wait(READ);
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

static void check_no_damage(struct store *store)
{
	AUTO_FREE struct chunk_damage *list = NULL;

	assert_int_equal(chunks_list_damage(store_chunks(store), &list), 0);
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
	check_no_damage(place->store);
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

/* A snapshot, d@taken, of a file of chunks that are named in part: the collector moves what is left of them. */
struct worn {
	struct view *view, *snapshot;
	struct chunk_list before;
	uint8_t *bytes;
};

static void worn_make(struct place *place, struct worn *worn)
{
	const struct snapshot_name taken = {.dataset = "d", .name = "taken"};
	struct error err = {0};

	worn->bytes = xmalloc(LEN);
	fill_random(1, worn->bytes, LEN);
	assert_int_equal(dataset_create(place->store, "d", 0755, 0, 0, 0, &err), 0);
	assert_int_equal(store_head(place->store, "d", &worn->view), 0);
	write_file(worn->view, ROOT_INO, "file", 0, worn->bytes, LEN);
	assert_int_equal(view_sync(worn->view), 0);
	for (size_t at = 0; at + 6000 <= LEN; at += 12000) {
		fill_random(at + 2, worn->bytes + at, 6000);
		write_file(worn->view, ROOT_INO, "file", at, worn->bytes + at, 6000);
	}
	assert_int_equal(view_sync(worn->view), 0);
	assert_int_equal(snapshot_create(place->store, &taken, 1, NULL, 0, &err), 0);
	assert_int_equal(store_view_by_name(place->store, "d@taken", &worn->snapshot, &err), 0);
	worn->before = chunks_of(worn->snapshot);
}

/* They were moved, and nobody took that for a loss. */
static void worn_clear(struct place *place, struct worn *worn)
{
	struct chunk_list after = chunks_of(worn->snapshot);

	assert_true((size_t)overlap(&worn->before, &after) < worn->before.count);
	check_no_damage(place->store);
	array_clear(&worn->before);
	array_clear(&after);
	store_view_put(place->store, worn->snapshot);
	store_view_put(place->store, worn->view);
	free(worn->bytes);
}

static void a_read_while_chunks_are_repacked(struct place *place)
{
	struct reading reading = {0};
	struct worn worn;

	worn_make(place, &worn);
	begin_read(&reading, worn.snapshot);
	(void)collect(place->store, false, false);
	end_read(&reading, worn.bytes);
	worn_clear(place, &worn);
}

/* --- a backup --- */

struct backing_up {
	struct store *store;
	struct view *snapshot;
	struct repository *repository;
	struct node node;
	int result;
};

static void *backup_main(void *arg)
{
	const struct transfer_options options = {.uid = geteuid(), .gid = getegid()};
	struct backing_up *backup = arg;
	struct repository_writer *writer = repository_writer_new(backup->repository, backup->repository->index);
	struct blob_file file = {.node = &backup->node};
	struct holes holes = {0};
	struct blob_maker maker;
	struct transfer transfer;
	struct transfer_counts transferred;
	struct writer_counts written;
	struct error err = {0};
	struct attr attr;
	struct scan scan;

	assert_int_equal(view_lookup(backup->snapshot, ROOT_INO, "file", &attr), 0);
	file.ino = attr.ino;
	file.holes = &holes;
	transfer_begin(&transfer, &options);
	scan_of_view(&scan, backup->snapshot);
	blob_maker_init(&maker, &transfer, backup->store, &scan, writer);
	blob_maker_files(&maker, &file, 1);
	backup->result = file.result;
	assert_int_equal(blob_maker_end(&maker, false), 0);
	assert_int_equal(repository_writer_end(writer, &written, &err), 0);
	repository_writer_free(writer);
	scan_clear(&scan);
	array_clear(&holes);
	assert_int_equal(transfer_end(&transfer, &transferred, NULL), 0);
	return NULL;
}

static void check_backup(struct backing_up *backup, const uint8_t *wanted)
{
	struct repository_reader *reader;
	struct error err = {0};
	AUTO_BUF bytes = BUF_INIT;

	assert_int_equal(backup->result, 0);
	assert_int_equal(repository_load_index(backup->repository, false, &err), 0);
	reader = repository_reader_new(backup->repository);
	for (size_t i = 0; i < backup->node.content.count; i++) {
		AUTO_BUF blob = BUF_INIT;

		assert_int_equal(repository_read_blob(reader, &backup->node.content.items[i], false, &blob), 0);
		buf_add(&bytes, blob.data, blob.len);
	}
	assert_int_equal(bytes.len, LEN);
	assert_memory_equal(bytes.data, wanted, LEN);
	repository_reader_free(reader);
}

static void a_backup_while_chunks_are_repacked(struct place *place)
{
	struct backing_up backup = {.store = place->store};
	struct repository_place repository;
	pthread_t thread;
	struct worn worn;

	worn_make(place, &worn);
	repository_place_make(&repository);
	backup.snapshot = worn.snapshot;
	backup.repository = repository.repository;
	assert_int_equal(pthread_create(&thread, NULL, backup_main, &backup), 0);
	fault_wait(BACKUP);
	(void)collect(place->store, false, false);
	pthread_join(thread, NULL);
	check_backup(&backup, worn.bytes);
	node_clear(&backup.node);
	repository_place_clear(&repository);
	worn_clear(place, &worn);
}

/* The file is left out, and the next backup has it. */
static void a_backup_that_fails(struct place *place)
{
	struct backing_up backup = {.store = place->store};
	struct repository_place repository;
	struct worn worn;

	worn_make(place, &worn);
	repository_place_make(&repository);
	backup.snapshot = worn.snapshot;
	backup.repository = repository.repository;
	(void)backup_main(&backup);
	assert_int_equal(backup.result, -EIO);
	node_clear(&backup.node);
	backup.node = (struct node){0};
	(void)backup_main(&backup);
	check_backup(&backup, worn.bytes);
	node_clear(&backup.node);
	repository_place_clear(&repository);
	(void)collect(place->store, false, false);
	worn_clear(place, &worn);
}

/* --- a stream --- */

struct streaming {
	struct store *store;
	int fd, result;
};

static void *send_main(void *arg)
{
	struct streaming *streaming = arg;
	const struct send_options options = {.dataset = "d", .snapshot = "taken", .fd = streaming->fd, .stopped = never};
	struct send_result result = {0};
	struct error err = {0};

	streaming->result = send_run(streaming->store, &options, &result, &err);
	return NULL;
}

/* The sender is caught in several turns (lib/tree/records/readers.h), the last time when the chunks that it looked up first are gone. */
static void a_stream_while_chunks_are_repacked(struct place *place)
{
	struct streaming streaming = {.store = place->store, .fd = memfd_create("stream", MFD_CLOEXEC)};
	AUTO_BUF stream = BUF_INIT;
	struct place other;
	pthread_t thread;
	struct worn worn;

	worn_make(place, &worn);
	assert_int_equal(pthread_create(&thread, NULL, send_main, &streaming), 0);
	fault_wait(SEND);
	(void)collect(place->store, false, false);
	pthread_join(thread, NULL);
	assert_int_equal(streaming.result, 0);
	read_all_of(streaming.fd, &stream);
	close(streaming.fd);
	place_init(&other);
	receive_all(other.store, "d", &stream);
	compare(place->store, "d@taken", other.store, "d@taken");
	place_clear(&other);
	worn_clear(place, &worn);
}

/* It is broken off, and can be sent again. */
static void a_stream_that_fails(struct place *place)
{
	struct streaming streaming = {.store = place->store, .fd = memfd_create("stream", MFD_CLOEXEC)};
	struct worn worn;

	worn_make(place, &worn);
	(void)send_main(&streaming);
	assert_int_equal(streaming.result, -EIO);
	(void)send_main(&streaming);
	assert_int_equal(streaming.result, 0);
	close(streaming.fd);
	(void)collect(place->store, false, false);
	worn_clear(place, &worn);
}

static const struct {
	const char *name, *fault;
	void (*run)(struct place *place);
} scenarios[] = {
	{"overwrite", READ ":sleep1000", while_the_file_is_overwritten},
	{"repack", READ ":sleep1000", a_read_while_chunks_are_repacked},
	{"backup", BACKUP ":sleep1000", a_backup_while_chunks_are_repacked},
	{"send", SEND ":sleep1000," SEND ":sleep1000:2," SEND ":sleep1000:3", a_stream_while_chunks_are_repacked},
	{"backup-fails", BACKUP ":eio", a_backup_that_fails},
	{"send-fails", SEND ":eio", a_stream_that_fails},
};

/* Each scenario in a process of its own, since faults are read once. */
static void run_scenario(size_t number)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CORPUSFS_FAULT", scenarios[number].fault, 1);
		execl("/proc/self/exe", "test", scenarios[number].name, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_a_read_keeps_the_chunks_of_a_file_that_is_overwritten(void **state)
{
	run_scenario(0);
}

static void test_a_read_of_a_snapshot_keeps_the_chunks_that_are_repacked(void **state)
{
	run_scenario(1);
}

static void test_a_backup_keeps_the_chunks_that_are_repacked(void **state)
{
	run_scenario(2);
}

static void test_a_stream_keeps_the_chunks_that_are_repacked(void **state)
{
	run_scenario(3);
}

static void test_a_file_that_a_backup_cannot_read_is_left_out(void **state)
{
	run_scenario(4);
}

static void test_a_stream_that_cannot_be_read_on_is_sent_again(void **state)
{
	run_scenario(5);
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
		cmocka_unit_test(test_a_backup_keeps_the_chunks_that_are_repacked),
		cmocka_unit_test(test_a_stream_keeps_the_chunks_that_are_repacked),
		cmocka_unit_test(test_a_file_that_a_backup_cannot_read_is_left_out),
		cmocka_unit_test(test_a_stream_that_cannot_be_read_on_is_sent_again),
	};

	if (argc == 2) {
		chosen = argv[1];
		return cmocka_run_group_tests(scenario, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
