#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/buf.h"
#include "lib/chunk/cache.h"
#include "lib/chunk/chunks.h"
#include "lib/format/key.h"
#include "lib/format/record.h"

#define MIB (1UL << 20)
#define CACHE_BYTES (8 * MIB)

struct store {
	char dir[64], db[96], ingest[96];
	struct pool *pool;
	struct kv *kv;
	struct chunks *chunks;
};

static void store_open(struct store *store, bool create)
{
	struct kv_options options = { .create = create, .cache_bytes = 8 * MIB, .memtable_bytes = 16 * MIB, .threads = 1 };
	struct chunks_options chunk_options = {
		.min = 16384, .average = 65536, .max = 262144, .ingest_dir = store->ingest, .cache_bytes = CACHE_BYTES
	};
	struct error err;

	store->pool = pool_new(2);
	assert_int_equal(kv_open(store->db, &options, &store->kv, &err), 0);
	assert_int_equal(chunks_open(store->kv, store->pool, &chunk_options, &store->chunks, &err), 0);
}

static void store_close(struct store *store)
{
	chunks_close(store->chunks);
	kv_close(store->kv);
	pool_free(store->pool);
}

static void store_make_dir(struct store *store)
{
	snprintf(store->dir, sizeof(store->dir), "/tmp/corpusfs-chunks-XXXXXX");
	assert_non_null(mkdtemp(store->dir));
	snprintf(store->db, sizeof(store->db), "%s/db", store->dir);
	snprintf(store->ingest, sizeof(store->ingest), "%s/ingest", store->dir);
}

static void store_remove_dir(const struct store *store)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s", store->dir);

	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	struct store *store = xcalloc(1, sizeof(*store));

	store_make_dir(store);
	store_open(store, true);
	*state = store;
	return 0;
}

static int teardown(void **state)
{
	struct store *store = *state;

	store_close(store);
	store_remove_dir(store);
	free(store);
	return 0;
}

static uint8_t *noise(size_t len, uint64_t seed)
{
	uint8_t *data = xmalloc(len + 8);

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = seed += 0x9e3779b97f4a7c15ULL;

		word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL;
		word ^= word >> 27;
		memcpy(data + i, &word, 8);
	}
	return data;
}

/* Compressible, and different in every piece. */
static uint8_t *text(size_t len, uint64_t seed)
{
	uint8_t *data = noise(len, seed);

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)("etaoinshrdlu nst"[data[i] % 16]);
	return data;
}

/* A copy of the pieces of one run. */
struct stored {
	struct chunk_piece *pieces;
	size_t count;
};

static struct stored take_pieces(const struct chunks_group *group, size_t number)
{
	struct stored stored;
	const struct chunk_piece *pieces = chunks_group_pieces(group, number, &stored.count);

	stored.pieces = xcalloc(stored.count + 1, sizeof(*pieces));
	if (stored.count)
		memcpy(stored.pieces, pieces, stored.count * sizeof(*pieces));
	return stored;
}

static struct stored put(struct store *store, const void *data, size_t len, int level)
{
	struct chunks_group *group = chunks_group_new(store->chunks);
	struct kv_batch *batch = kv_batch_new();
	struct stored stored;

	assert_int_equal(chunks_group_add(group, data, len, level), 0);
	assert_int_equal(chunks_group_store(group, batch), 0);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	stored = take_pieces(group, 0);
	chunks_group_free(group);
	kv_batch_free(batch);
	return stored;
}

static void assert_reads_back(struct store *store, const struct stored *stored, const uint8_t *data, size_t len)
{
	AUTO_FREE uint8_t *out = xmalloc(262144);
	uint64_t at = 0;

	for (size_t i = 0; i < stored->count; i++) {
		const struct chunk_piece *piece = &stored->pieces[i];
		uint32_t half = piece->length / 2;

		assert_int_equal(piece->offset, at);
		assert_int_equal(chunks_read(store->chunks, piece->chunk, 0, piece->length, out), 0);
		assert_memory_equal(out, data + at, piece->length);
		for (int pass = 0; pass < 2; pass++) {
			memset(out, 0, piece->length);
			assert_int_equal(chunks_read(store->chunks, piece->chunk, half, piece->length - half, out), 0);
			assert_memory_equal(out, data + at + half, piece->length - half);
		}
		assert_int_equal(chunks_verify(store->chunks, piece->chunk), 0);
		at += piece->length;
	}
	assert_int_equal(at, len);
}

static void check_round_trip(struct store *store, uint8_t *data, size_t len, int level, bool bulk)
{
	struct stored stored = put(store, data, len, level);

	for (size_t i = 0; i < stored.count; i++)
		assert_int_equal(!!(stored.pieces[i].chunk & CHUNK_BULK), bulk);
	assert_reads_back(store, &stored, data, len);
	free(stored.pieces);
	free(data);
}

static void test_both_ways_in_and_back(void **state)
{
	check_round_trip(*state, noise(1, 1), 1, 3, false);
	check_round_trip(*state, noise(65536, 2), 65536, 3, false);
	check_round_trip(*state, noise(500000, 3), 500000, 0, false);
	check_round_trip(*state, text(500000, 4), 500000, 3, false);
	check_round_trip(*state, noise(20 * MIB + 77, 5), 20 * MIB + 77, 3, true);
	check_round_trip(*state, text(3 * MIB, 6), 3 * MIB, 1, true);
}

static void test_pieces_do_not_depend_on_the_threads(void **state)
{
	struct store *store = *state, other = { 0 };
	size_t len = 40 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 8);
	struct stored a, b;

	memset(data + 9 * MIB, 0, 12 * MIB); /* where cuts never fall together */
	store_make_dir(&other);
	store_open(&other, true);
	a = put(store, data, len, 0);
	/* one at a time, from the last end on: what a single thread would cut */
	for (size_t i = 0; i < a.count; i += 97) {
		uint64_t from = a.pieces[i].offset;

		b = put(&other, data + from, MIN(len - from, 7 * MIB), 0);
		for (size_t j = 0; j + 1 < b.count; j++)
			assert_int_equal(b.pieces[j].length, a.pieces[i + j].length);
		free(b.pieces);
	}
	free(a.pieces);
	store_close(&other);
	store_remove_dir(&other);
}

static void test_small_files_are_one_chunk_and_empty_ones_none(void **state)
{
	struct store *store = *state;
	struct chunks_group *group = chunks_group_new(store->chunks);
	struct kv_batch *batch = kv_batch_new();
	AUTO_FREE uint8_t *data = noise(65536, 9);
	size_t count;

	assert_int_equal(chunks_group_add(group, NULL, 0, 3), 0);
	assert_int_equal(chunks_group_add(group, data, 65536, 3), 1);
	assert_int_equal(chunks_group_add(group, data, 100, 3), 2);
	assert_int_equal(chunks_group_store(group, batch), 0);
	chunks_group_pieces(group, 0, &count);
	assert_int_equal(count, 0);
	chunks_group_pieces(group, 1, &count);
	assert_int_equal(count, 1);
	chunks_group_pieces(group, 2, &count);
	assert_int_equal(count, 1);
	chunks_group_free(group);
	kv_batch_free(batch);
	free(put(store, NULL, 0, 3).pieces);
}

static void test_duplicates_in_a_group_and_across_groups(void **state)
{
	struct store *store = *state;
	struct chunks_group *group = chunks_group_new(store->chunks);
	struct kv_batch *batch = kv_batch_new();
	AUTO_FREE uint8_t *data = noise(2 * MIB, 10);
	struct stored a, b, c;

	chunks_group_add(group, data, 2 * MIB, 3);
	chunks_group_add(group, data, 2 * MIB, 0);
	assert_int_equal(chunks_group_store(group, batch), 0);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	a = take_pieces(group, 0);
	b = take_pieces(group, 1);
	chunks_group_free(group);
	kv_batch_clear(batch);
	c = put(store, data, 2 * MIB, 3);
	assert_int_equal(a.count, b.count);
	assert_int_equal(a.count, c.count);
	assert_memory_equal(a.pieces, b.pieces, a.count * sizeof(*a.pieces));
	assert_memory_equal(a.pieces, c.pieces, a.count * sizeof(*a.pieces));
	for (size_t i = 1; i < a.count; i++)
		assert_int_equal(a.pieces[i].chunk, a.pieces[i - 1].chunk + 1);
	free(a.pieces);
	free(b.pieces);
	free(c.pieces);
	kv_batch_free(batch);
}

static void test_ids_go_on_after_reopening(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(100, 11);
	struct stored a = put(store, data, 50, 0), b;

	store_close(store);
	store_open(store, false);
	b = put(store, data + 50, 50, 0);
	assert_int_equal(b.pieces[0].chunk, a.pieces[0].chunk + 1);
	assert_reads_back(store, &a, data, 50);
	free(a.pieces);
	free(b.pieces);
}

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
	struct store store = { 0 };
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
	struct store store = { 0 };
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
	struct store store = { 0 };
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

/* --- damage --- */

static void damage(struct store *store, uint64_t id, size_t at)
{
	struct small_key key = chunk_key(id);
	enum kv_family family = id & CHUNK_BULK ? KV_BULK : KV_SMALL;
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF value = BUF_INIT;

	assert_int_equal(kv_get(store->kv, family, key.bytes, key.len, &value), 0);
	assert_true(at < value.len);
	value.data[at] ^= 0x10;
	kv_batch_put(batch, family, key.bytes, key.len, value.data, value.len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

static void test_every_flipped_bit_is_noticed(void **state)
{
	static const size_t places[] = { 0, 7, 8, 9, 10, 12, 15, 16, 47, 48, 300 };
	struct store *store = *state;
	AUTO_FREE uint8_t *data = text(30000, 13);
	uint8_t out[100];

	for (int level = 0; level <= 3; level += 3) {
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			struct stored stored;
			uint64_t id;

			data[0]++;
			stored = put(store, data, 30000, level);
			id = stored.pieces[0].chunk;
			damage(store, id, places[i]);
			assert_int_equal(chunks_read(store->chunks, id, 5, 100, out), -EIO);
			assert_int_equal(chunks_verify(store->chunks, id), -EBADMSG);
			free(stored.pieces);
		}
	}
}

static void test_damaged_chunk_is_no_duplicate_of_anything(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(30000, 14);
	struct stored a = put(store, data, 30000, 0), b;

	damage(store, a.pieces[0].chunk, 100);
	assert_int_equal(chunks_verify(store->chunks, a.pieces[0].chunk), -EBADMSG);
	b = put(store, data, 30000, 0);
	assert_true(b.pieces[0].chunk != a.pieces[0].chunk);
	assert_reads_back(store, &b, data, 30000);
	free(a.pieces);
	free(b.pieces);
}

static void test_missing_chunks_and_wrong_ranges(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = text(1000, 15);
	struct stored stored;
	uint8_t out[1001];

	assert_int_equal(chunks_read(store->chunks, 12345, 0, 1, out), -EIO);
	assert_int_equal(chunks_verify(store->chunks, CHUNK_BULK | 7), -ENOENT);
	for (int level = 0; level <= 3; level += 3) {
		data[0]++;
		stored = put(store, data, 1000, level);
		assert_int_equal(chunks_read(store->chunks, stored.pieces[0].chunk, 0, 1001, out), -EIO);
		assert_int_equal(chunks_read(store->chunks, stored.pieces[0].chunk, 999, 2, out), -EIO);
		assert_int_equal(chunks_read(store->chunks, stored.pieces[0].chunk, UINT32_MAX, 1, out), -EIO);
		assert_int_equal(chunks_read(store->chunks, stored.pieces[0].chunk, 999, 1, out), 0);
		assert_int_equal(chunks_read(store->chunks, stored.pieces[0].chunk, 999, 2, out), -EIO);
		free(stored.pieces);
	}
}

/* --- the cache --- */

static void test_cache_keeps_its_budget(void **state)
{
	struct cache *cache = cache_new(1 * MIB, 65536);
	struct cache_entry *held[40];
	uint32_t len;
	bool mine;

	for (uint64_t id = 0; id < 40; id++) {
		held[id] = cache_claim(cache, id, &mine);
		assert_true(mine);
		cache_fill(cache, held[id], noise(65536, id), 65536);
		assert_true(cache_bytes(cache) <= 1 * MIB);
	}
	for (uint64_t id = 0; id < 40; id++) {
		AUTO_FREE uint8_t *expected = noise(65536, id);

		assert_memory_equal(cache_data(held[id], &len), expected, 65536);
		cache_release(cache, held[id]);
	}
	assert_non_null(held[0] = cache_find(cache, 0));
	cache_release(cache, held[0]);
	held[1] = cache_claim(cache, 100, &mine);
	cache_fail(cache, held[1], -EIO);
	assert_int_equal(cache_error(held[1]), -EIO);
	cache_release(cache, held[1]);
	assert_null(cache_find(cache, 100));
	cache_free(cache);
}

static void test_cache_of_nothing(void **state)
{
	struct cache *cache = cache_new(0, 262144);
	struct cache_entry *entry;
	uint32_t len;
	bool mine;

	entry = cache_claim(cache, 1, &mine);
	cache_fill(cache, entry, noise(10, 1), 10);
	assert_non_null(cache_data(entry, &len));
	assert_int_equal(len, 10);
	cache_release(cache, entry);
	assert_null(cache_find(cache, 1));
	assert_int_equal(cache_bytes(cache), 0);
	cache_free(cache);
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
	struct stored old = put(store, data, 2 * MIB, 0), referred = put(store, data + 2 * MIB, 50000, 0), fresh;
	struct chunks_group *group = chunks_group_new(store->chunks);
	struct kv_batch *batch = kv_batch_new();
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count;

	chunks_group_add(group, data, 2 * MIB, 0);
	chunks_group_add(group, data + 3 * MIB, 1 * MIB, 0);
	assert_int_equal(chunks_group_store(group, batch), 0);
	chunks_group_refer(group, referred.pieces[0].chunk);
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
	assert_reads_back(store, &referred, data + 2 * MIB, 50000);

	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	sweep_both(store, set, false, &count);
	assert_int_equal(count, old.count + fresh.count + referred.count);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	kv_batch_free(batch);
	free(old.pieces);
	free(fresh.pieces);
	free(referred.pieces);
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

/* --- threads --- */

struct busy {
	struct store *store;
	uint64_t seed;
	bool failed;
};

static bool same_bytes(struct store *store, const struct stored *stored, const uint8_t *data)
{
	AUTO_FREE uint8_t *out = xmalloc(262144);

	for (size_t i = 0; i < stored->count; i++) {
		const struct chunk_piece *piece = &stored->pieces[i];

		for (uint32_t at = 0; at < piece->length; at += 30000) {
			uint32_t len = MIN(piece->length - at, 30000);

			if (chunks_read(store->chunks, piece->chunk, at, len, out) || memcmp(out, data + piece->offset + at, len))
				return false;
		}
	}
	return true;
}

static void *be_busy(void *arg)
{
	struct busy *busy = arg;
	AUTO_FREE uint8_t *data = text(3 * MIB, busy->seed);

	/* the same text in two threads each: duplicates race with one another */
	for (int round = 0; round < 6 && !busy->failed; round++) {
		size_t len = round % 2 ? 3 * MIB : 200000;
		struct stored stored;

		data[round * 1000]++;
		stored = put(busy->store, data, len, round % 3);
		busy->failed = !same_bytes(busy->store, &stored, data);
		free(stored.pieces);
	}
	return NULL;
}

static void test_four_threads_store_and_read(void **state)
{
	struct busy busy[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		busy[i] = (struct busy){ .store = *state, .seed = 20 + i / 2 };
		assert_int_equal(pthread_create(&threads[i], NULL, be_busy, &busy[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_false(busy[i].failed);
	}
}

#define STORE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_both_ways_in_and_back),
		STORE_TEST(test_pieces_do_not_depend_on_the_threads),
		STORE_TEST(test_small_files_are_one_chunk_and_empty_ones_none),
		STORE_TEST(test_duplicates_in_a_group_and_across_groups),
		STORE_TEST(test_ids_go_on_after_reopening),
		cmocka_unit_test(test_crash_before_ingest),
		cmocka_unit_test(test_crash_between_ingest_and_batch),
		cmocka_unit_test(test_crash_in_the_sweep),
		STORE_TEST(test_sweep_can_be_stopped),
		STORE_TEST(test_every_flipped_bit_is_noticed),
		STORE_TEST(test_damaged_chunk_is_no_duplicate_of_anything),
		STORE_TEST(test_missing_chunks_and_wrong_ranges),
		cmocka_unit_test(test_cache_keeps_its_budget),
		cmocka_unit_test(test_cache_of_nothing),
		cmocka_unit_test(test_set),
		STORE_TEST(test_sweep_removes_what_is_not_marked),
		STORE_TEST(test_living_groups_are_safe),
		STORE_TEST(test_rows_of_dead_chunks_give_their_files_back),
		STORE_TEST(test_four_threads_store_and_read),
	};

	if (argc == 3 && strcmp(argv[1], "crash") == 0)
		return crash_main(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
