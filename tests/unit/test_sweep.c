#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/chunk/set.h"
#include "tests/unit/chunk_store.h"

/* --- crashes: this program again, with a fault point set --- */

static const uint64_t crash_seed = 12;

static void sweep_everything(struct store *store)
{
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count, bytes;

	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	assert_int_equal(chunks_sweep(store->chunks, set, CHUNK_BULK, bulk_end, NULL, NULL, false, &count, &bytes), 0);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
}

/* Killed at the fault point that the environment names. */
static int crash_main(const char *dir)
{
	struct store store = {0};
	AUTO_FREE uint8_t *data = noise(4 * MIB, crash_seed);

	snprintf(store.db, sizeof(store.db), "%s/db", dir);
	snprintf(store.ingest, sizeof(store.ingest), "%s/ingest", dir);
	store_open(&store, true);
	free(put(&store, data, 2 * MIB, 0).pieces);
	free(put(&store, data + 2 * MIB, 2 * MIB, 0).pieces);
	sweep_everything(&store);
	return 1; /* the fault point should have killed us */
}

static void run_crash(const struct store *store, const char *fault)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		execl("/proc/self/exe", "test_chunks", "crash", store->dir, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_crash(const char *fault, bool ingested)
{
	struct store store = {0};
	AUTO_FREE uint8_t *data = noise(4 * MIB, crash_seed);
	struct kv_iter *iter;
	struct stored stored;
	uint64_t last = 0, count = 0;

	store_make_dir(&store);
	run_crash(&store, fault);
	store_open(&store, false);
	iter = kv_iter_new(store.kv, KV_BULK, NULL, 0, NULL, 0);
	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter), count++) {
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);

		assert_int_equal(chunk_key_parse(key, len, &last), 0);
		assert_int_equal(chunks_verify(store.chunks, last), 0);
	}
	kv_iter_free(iter);
	assert_true(count > 0);
	stored = put(&store, data + 2 * MIB, 2 * MIB, 0);
	/* the second group's batch was lost, so its chunks are stored anew, under ids never used before */
	assert_true(stored.pieces[0].chunk > last + (ingested ? 0 : stored.count));
	assert_reads_back(&store, &stored, data + 2 * MIB, 2 * MIB);
	free(stored.pieces);
	store_close(&store);
	store_remove_dir(&store);
}

static void test_crash_before_ingest(void **state)
{
	check_crash("chunks-before-ingest:kill:2", false);
}

static void test_crash_between_ingest_and_batch(void **state)
{
	check_crash("chunks-after-ingest:kill:2", true);
}

/* Every dedup entry names a chunk that is there, before and after the sweep is run again. */
static void assert_no_entry_dangles(struct store *store, uint64_t *ret_count)
{
	struct kv_iter *iter = kv_iter_new(store->kv, KV_DEDUP, NULL, 0, NULL, 0);
	uint64_t count = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter), count++) {
		size_t len;
		const uint8_t *value = kv_iter_value(iter, &len);
		struct reader reader = reader_over(value, len);

		assert_int_equal(chunks_verify(store->chunks, read_le64(&reader)), 0);
	}
	kv_iter_free(iter);
	*ret_count = count;
}

static void test_crash_in_the_sweep(void **state)
{
	struct store store = {0};
	uint64_t count;

	store_make_dir(&store);
	run_crash(&store, "chunks-sweep-batch");
	store_open(&store, false);
	assert_no_entry_dangles(&store, &count);
	sweep_everything(&store);
	assert_no_entry_dangles(&store, &count);
	assert_int_equal(count, 0);
	store_close(&store);
	store_remove_dir(&store);
}

static bool stop_at_once(void *arg)
{
	return true;
}

static void test_sweep_can_be_stopped(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(2 * MIB, 19);
	struct stored stored = put(store, data, 2 * MIB, 0);
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count, bytes;

	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	assert_int_equal(chunks_sweep(store->chunks, set, CHUNK_BULK, bulk_end, stop_at_once, NULL, false, &count, &bytes), 0);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	assert_int_equal(count, 0);
	assert_reads_back(store, &stored, data, 2 * MIB);
	free(stored.pieces);
}

/* --- the collector --- */

static void test_set(void **state)
{
	struct chunk_set *set = chunk_set_new(CHUNK_BULK | 200000, 1000);

	chunk_set_add(set, 5);
	chunk_set_add(set, CHUNK_BULK | 150000);
	chunk_set_add(set, CHUNK_BULK | 1000000);
	assert_true(chunk_set_has(set, 5) && chunk_set_has(set, CHUNK_BULK | 150000));
	assert_false(chunk_set_has(set, 6) || chunk_set_has(set, CHUNK_BULK | 5) || chunk_set_has(set, CHUNK_BULK | 149999));
	assert_true(chunk_set_has(set, 1000) && chunk_set_has(set, CHUNK_BULK | 200000));
	chunk_set_free(set);
}

static void test_members_are_counted(void **state)
{
	const uint64_t end = 700, beyond = 900;
	struct chunk_set *set = chunk_set_new(0, end);

	for (uint64_t i = 0; i < 300; i++)
		chunk_set_add(set, i * i * 31 % end);
	for (uint64_t first = 0; first < beyond; first += 13) {
		uint64_t count = 0;
		for (uint64_t to = first; to < beyond; to++) {
			assert_int_equal(chunk_set_count(set, first, to), count);
			count += chunk_set_has(set, to);
		}
	}
	assert_int_equal(chunk_set_count(set, CHUNK_BULK | 5, CHUNK_BULK | 12), 7);
	chunk_set_free(set);
}

static void sweep_both(struct store *store, struct chunk_set *set, bool dry_run, uint64_t *ret_count)
{
	uint64_t count, more, bytes;

	assert_int_equal(chunks_sweep(store->chunks, set, 0, CHUNK_BULK - 1, NULL, NULL, dry_run, &count, &bytes), 0);
	assert_int_equal(chunks_sweep(store->chunks, set, CHUNK_BULK, UINT64_MAX, NULL, NULL, dry_run, &more, &bytes), 0);
	*ret_count = count + more;
}

static void add_all(struct chunk_set *set, const struct stored *stored)
{
	for (size_t i = 0; i < stored->count; i++)
		chunk_set_add(set, stored->pieces[i].chunk);
}

static void assert_gone(struct store *store, const struct stored *stored)
{
	for (size_t i = 0; i < stored->count; i++)
		assert_int_equal(chunks_verify(store->chunks, stored->pieces[i].chunk), -ENOENT);
}

static void test_sweep_removes_what_is_not_marked(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(12 * MIB, 16);
	struct stored live = put(store, data, 3 * MIB, 0), dead = put(store, data + 3 * MIB, 3 * MIB, 0);
	struct stored small = put(store, data + 6 * MIB, 90000, 0), hit = put(store, data + 7 * MIB, 2 * MIB, 0), again, late;
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count;

	assert_int_equal(chunks_sweep(store->chunks, NULL, 0, 10, NULL, NULL, false, &count, &count), -EINVAL);
	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	add_all(set, &live);
	again = put(store, data + 7 * MIB, 2 * MIB, 0);
	assert_int_equal(again.pieces[0].chunk, hit.pieces[0].chunk);
	late = put(store, data + 9 * MIB, 2 * MIB, 0);
	assert_true(late.pieces[0].chunk >= bulk_end);
	sweep_both(store, set, true, &count);
	assert_int_equal(count, dead.count + small.count);
	assert_reads_back(store, &dead, data + 3 * MIB, 3 * MIB);
	sweep_both(store, set, false, &count);
	assert_int_equal(count, dead.count + small.count);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);

	assert_gone(store, &dead);
	assert_gone(store, &small);
	assert_reads_back(store, &live, data, 3 * MIB);
	assert_reads_back(store, &hit, data + 7 * MIB, 2 * MIB);
	assert_reads_back(store, &late, data + 9 * MIB, 2 * MIB);
	free(again.pieces);
	again = put(store, data + 3 * MIB, 3 * MIB, 0); /* no dedup entry was left behind */
	assert_true(again.pieces[0].chunk >= bulk_end);
	assert_reads_back(store, &again, data + 3 * MIB, 3 * MIB);
	free(live.pieces);
	free(dead.pieces);
	free(small.pieces);
	free(hit.pieces);
	free(again.pieces);
	free(late.pieces);
}

static void test_living_groups_are_safe(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(4 * MIB, 17);
	struct stored old = put(store, data, 2 * MIB, 0), fresh;
	struct chunks_group *group = chunks_group_new(store->chunks);
	struct kv_batch *batch = kv_batch_new();
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count;

	chunks_group_add(group, data, 2 * MIB, 0);
	chunks_group_add(group, data + 3 * MIB, 1 * MIB, 0);
	assert_int_equal(chunks_group_store(group, batch), 0);
	fresh = take_pieces(group, 1);
	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	sweep_both(store, set, false, &count);
	assert_int_equal(count, 0);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	chunks_group_free(group);
	assert_reads_back(store, &old, data, 2 * MIB);
	assert_reads_back(store, &fresh, data + 3 * MIB, 1 * MIB);

	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	sweep_both(store, set, false, &count);
	assert_int_equal(count, old.count + fresh.count);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	kv_batch_free(batch);
	free(old.pieces);
	free(fresh.pieces);
}

static void test_rows_of_dead_chunks_give_their_files_back(void **state)
{
	struct store *store = *state;
	size_t len = 64 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 18);
	struct stored dead = put(store, data, len - MIB, 0), live = put(store, data + len - MIB, MIB, 0);
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count;

	assert_true(kv_disk_bytes(store->kv, KV_BULK) > 60 * MIB);
	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	add_all(set, &live);
	sweep_both(store, set, false, &count);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	assert_int_equal(count, dead.count);
	assert_gone(store, &dead);
	assert_reads_back(store, &live, data + len - MIB, MIB);
	assert_true(kv_disk_bytes(store->kv, KV_BULK) < 8 * MIB);
	free(dead.pieces);
	free(live.pieces);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_before_ingest),
		cmocka_unit_test(test_crash_between_ingest_and_batch),
		cmocka_unit_test(test_crash_in_the_sweep),
		STORE_TEST(test_sweep_can_be_stopped),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_members_are_counted),
		STORE_TEST(test_sweep_removes_what_is_not_marked),
		STORE_TEST(test_living_groups_are_safe),
		STORE_TEST(test_rows_of_dead_chunks_give_their_files_back),
	};

	if (argc == 3 && strcmp(argv[1], "crash") == 0)
		return crash_main(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
