#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "lib/chunk/cache.h"
#include "lib/format/record.h"
#include "lib/kv/inside.h"
#include "tests/unit/chunk_store.h"

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
	struct store *store = *state, other = {0};
	size_t len = 40 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 8);
	struct stored a, b;

	memset(data + 9 * MIB, 0, 12 * MIB); /* where cuts never fall together */
	store_make_dir(&other);
	store_open(&other, true);
	a = put(store, data, len, 0);
	for (size_t i = 0; i < a.count; i++)
		assert_int_equal(chunks_verify(store->chunks, a.pieces[i].chunk), 0);
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

static bool is_packed(struct store *store, uint64_t id)
{
	struct small_key key = chunk_key(id);
	struct chunk_header header;
	AUTO_BUF record = BUF_INIT;

	assert_int_equal(kv_get(store->kv, id & CHUNK_BULK ? KV_BULK : KV_SMALL, key.bytes, key.len, &record), 0);
	assert_int_equal(chunk_header_decode(record.data, record.len, &header), 0);
	return header.codec == CHUNK_CODEC_ZSTD;
}

static void test_text_behind_much_noise_is_packed_again(void **state)
{
	size_t len = 12 * MIB, count = 0, packed = 0;
	AUTO_FREE uint8_t *data = noise(len, 9), *words = text(len / 2, 10);
	struct stored stored;

	memcpy(data + len / 2, words, len / 2);
	stored = put(*state, data, len, 1);
	for (size_t i = 0; i < stored.count; i++) {
		bool is_text = stored.pieces[i].offset >= len / 2;

		count += is_text;
		packed += is_text && is_packed(*state, stored.pieces[i].chunk);
	}
	assert_true(packed > 0 && packed >= count / 2);
	free(stored.pieces);
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
	static const size_t places[] = {0, 7, 8, 9, 10, 12, 15, 16, 47, 48, 300};
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
		busy[i] = (struct busy){.store = *state, .seed = 20 + i / 2};
		assert_int_equal(pthread_create(&threads[i], NULL, be_busy, &busy[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_false(busy[i].failed);
	}
}

struct looked {
	struct kv *kv;
	uint64_t last;
	size_t count, outside, stop; /* stop: after so many; 0: never */
};

static int look(void *arg, uint64_t id, uint64_t bytes, int result)
{
	struct looked *looked = arg;

	assert_int_equal(result, 0);
	assert_true(id > looked->last && bytes > 0);
	looked->last = id;
	if (kv_shut_out(looked->kv, 1000)) { /* what reads ahead looks after its tables now and then */
		kv_let_in(looked->kv);
		looked->outside++;
	}
	return ++looked->count == looked->stop;
}

/* It may take long over what it is told: the database can be opened anew meanwhile. */
static void test_a_scrub_is_not_inside_the_database_when_it_tells(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(20 * MIB, 30);
	struct stored stored = put(store, data, 20 * MIB, 0);
	struct looked looked = {.kv = store->kv}, stopped = {.kv = store->kv, .stop = 5};
	uint64_t bulk_end, small_end;

	chunks_ends(store->chunks, &bulk_end, &small_end);
	struct chunk_set *set = chunk_set_new(bulk_end, small_end);
	for (size_t i = 0; i < stored.count; i++)
		chunk_set_add(set, stored.pieces[i].chunk);
	assert_int_equal(chunks_scrub(store->chunks, set, CHUNK_BULK | 1, bulk_end, look, &looked), 0);
	assert_int_equal(looked.count, stored.count);
	assert_int_equal(looked.outside, stored.count);
	assert_int_equal(chunks_scrub(store->chunks, set, CHUNK_BULK | 1, bulk_end, look, &stopped), 1);
	assert_int_equal(stopped.count, 5);
	chunk_set_free(set);
	free(stored.pieces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_both_ways_in_and_back),
		STORE_TEST(test_pieces_do_not_depend_on_the_threads),
		STORE_TEST(test_text_behind_much_noise_is_packed_again),
		STORE_TEST(test_small_files_are_one_chunk_and_empty_ones_none),
		STORE_TEST(test_duplicates_in_a_group_and_across_groups),
		STORE_TEST(test_ids_go_on_after_reopening),
		STORE_TEST(test_every_flipped_bit_is_noticed),
		STORE_TEST(test_damaged_chunk_is_no_duplicate_of_anything),
		STORE_TEST(test_missing_chunks_and_wrong_ranges),
		cmocka_unit_test(test_cache_keeps_its_budget),
		cmocka_unit_test(test_cache_of_nothing),
		STORE_TEST(test_four_threads_store_and_read),
		STORE_TEST(test_a_scrub_is_not_inside_the_database_when_it_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
