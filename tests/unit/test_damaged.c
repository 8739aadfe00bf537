/* The list of damaged chunks: what stands for one of them is never lost, whatever of the list cannot be read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/chunk/chunk_store.h"
#include "lib/chunk/damaged.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/set.h"
#include "tests/unit/chunk_store.h"
#include "tests/unit/fault_wait.h"

#define LEN 30000
#define FORGET "damage-before-forget"

static void rot(struct store *store, uint64_t id, size_t at)
{
	flip_bit(store, id, at);
	assert_int_equal(chunks_verify(store->chunks, id), -EBADMSG);
}

/* A chunk that was damaged, and the one that stands for it. */
static uint64_t make_healed(struct store *store, const uint8_t *data, uint64_t *ret_replacement)
{
	struct stored first = put(store, data, LEN, 0), again;
	const uint64_t id = first.pieces[0].chunk;

	rot(store, id, 100);
	again = put(store, data, LEN, 0);
	*ret_replacement = again.pieces[0].chunk;
	assert_true(*ret_replacement != id);
	free(first.pieces);
	free(again.pieces);
	return id;
}

/* All chunks are garbage but this one. */
static int sweep_but(struct store *store, uint64_t id)
{
	struct chunk_set *set;
	uint64_t bulk_end, small_end, count, bytes;
	int ret;

	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	chunk_set_add(set, id);
	ret = chunks_sweep(store->chunks, set, 1, small_end, NULL, NULL, false, &count, &bytes);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	return ret;
}

static int open_chunks(struct store *store)
{
	struct chunks_options options = {
		.min = 16384, .average = 65536, .max = 262144, .ingest_dir = store->ingest, .cache_bytes = CACHE_BYTES};
	struct error err = {0};

	return chunks_open(store->kv, store->pool, &options, &store->chunks, &err);
}

static void test_entry_that_cannot_be_read_keeps_the_store_shut(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 1);
	AUTO_BUF before = BUF_INIT;
	uint64_t replacement, id = make_healed(store, data, &replacement);
	struct small_key key = catalog_key_damage(id);

	assert_int_equal(kv_get(store->kv, KV_CATALOG, key.bytes, key.len, &before), 0);
	put_value(store, KV_CATALOG, &key, "?", 1);
	chunks_close(store->chunks);
	assert_int_equal(open_chunks(store), -EBADMSG);
	put_value(store, KV_CATALOG, &key, before.data, before.len);
	assert_int_equal(open_chunks(store), 0);
	assert_int_equal(sweep_but(store, id), 0);
	assert_reads(store, id, data, LEN);
}

/* Of the tables that are no content: a few bytes in the middle of the records. */
static void rot_tables(const struct store *store)
{
	DIR *dir = opendir(store->db);

	for (struct dirent *entry; (entry = readdir(dir));) {
		AUTO_FREE char *path = xasprintf("%s/%s", store->db, entry->d_name);
		struct stat st;
		if (!strstr(entry->d_name, ".sst") || stat(path, &st) < 0 || st.st_size < 20000)
			continue;
		AUTO_CLOSE int fd = open(path, O_RDWR);
		assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, 9000), 4);
	}
	closedir(dir);
}

static void test_list_with_a_rotten_block_keeps_the_store_shut(void **state)
{
	struct store *store = *state;
	struct damage_record record = {.found = 1, .replacement = 7};
	struct error err = {0};
	struct kv_options options = {.cache_bytes = 8 * MIB, .memtable_bytes = 16 * MIB, .threads = 1};

	for (uint64_t id = 1; id <= 5000; id++) {
		struct small_key key = catalog_key_damage(id * 1000003);
		AUTO_BUF value = BUF_INIT;

		record.found = (int64_t)(id * 0x9e3779b97f4a7c15ULL >> 1);
		damage_record_encode(&record, &value);
		put_value(store, KV_CATALOG, &key, value.data, value.len);
	}
	store_close(store);
	rot_tables(store);
	store->pool = pool_new(2);
	assert_int_equal(kv_open(store->db, &options, &store->kv, &err), 0);
	assert_int_equal(open_chunks(store), -EBADMSG);
	kv_close(store->kv);
	pool_free(store->pool);
}

static void test_nothing_is_swept_while_an_entry_cannot_be_read(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 2);
	AUTO_BUF before = BUF_INIT;
	uint64_t replacement, id = make_healed(store, data, &replacement);
	struct small_key key = catalog_key_damage(id);

	assert_int_equal(kv_get(store->kv, KV_CATALOG, key.bytes, key.len, &before), 0);
	put_value(store, KV_CATALOG, &key, "?", 1);
	assert_int_equal(sweep_but(store, id), -EBADMSG);
	put_value(store, KV_CATALOG, &key, before.data, before.len);
	assert_int_equal(sweep_but(store, id), 0);
	assert_reads(store, id, data, LEN);
}

static void test_what_the_store_knows_of_a_chunk_is_not_overwritten(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 3);
	struct damaged *knows_less;
	struct error err = {0};
	uint64_t replacement, id;

	assert_int_equal(damaged_open(store->kv, &knows_less, &err), 0);
	id = make_healed(store, data, &replacement);
	damaged_add(knows_less, id);
	assert_int_equal(damaged_resolve(knows_less, id), replacement);
	damaged_close(knows_less);
	store_close(store);
	store_open(store, false);
	assert_reads(store, id, data, LEN);
}

struct forgetting {
	struct chunks *chunks;
	uint64_t id;
	int result;
};

static void *forget_main(void *arg)
{
	struct forgetting *forgetting = arg;

	forgetting->result = chunks_found_whole(forgetting->chunks, forgetting->id);
	return NULL;
}

/* A scrub has found it whole and is about to write that, when a reader finds it damaged: that is known after a restart. */
static void test_a_chunk_that_is_found_damaged_while_it_leaves_the_list_is_in_it(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 4);
	struct stored stored = put(store, data, LEN, 0);
	struct forgetting forgetting = {.chunks = store->chunks, .id = stored.pieces[0].chunk};
	struct chunk_damage *list;
	pthread_t thread;

	rot(store, forgetting.id, 100);
	assert_int_equal(pthread_create(&thread, NULL, forget_main, &forgetting), 0);
	fault_wait(FORGET);
	assert_int_equal(chunks_verify(store->chunks, forgetting.id), -EBADMSG);
	pthread_join(thread, NULL);
	assert_int_equal(forgetting.result, 0);
	store_close(store);
	store_open(store, false);
	assert_int_equal(chunks_list_damage(store->chunks, &list), 1);
	free(list);
	/* what cannot be written is not forgotten */
	assert_int_equal(chunks_found_whole(store->chunks, forgetting.id), -EIO);
	assert_true(chunks_known_damaged(store->chunks, forgetting.id));
	assert_int_equal(chunks_found_whole(store->chunks, forgetting.id), 0);
	assert_false(chunks_known_damaged(store->chunks, forgetting.id));
	free(stored.pieces);
}

/* --- a store that takes no changes for a while, as on a full disk --- */

static int refusal;

static int refuse(void *arg, bool now)
{
	(void)arg;
	(void)now;
	return refusal;
}

static void open_refusing(struct store *store)
{
	struct kv_options options = {.cache_bytes = 8 * MIB, .memtable_bytes = 16 * MIB, .threads = 1, .check = refuse};
	struct error err = {0};

	store->pool = pool_new(2);
	assert_int_equal(kv_open(store->db, &options, &store->kv, &err), 0);
	assert_int_equal(open_chunks(store), 0);
}

/* Neither the list nor the copy that would have healed the chunk could be written. */
static void test_a_chunk_that_could_be_neither_noted_nor_healed_is_noted_later(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 7);
	struct chunks_group *group;
	struct kv_batch *batch = kv_batch_new();
	struct chunk_damage *list;
	uint64_t id;

	store_close(store);
	open_refusing(store);
	struct stored stored = put(store, data, LEN, 0);
	id = stored.pieces[0].chunk;
	free(stored.pieces);
	struct small_key key = chunk_key(id);
	put_value(store, KV_SMALL, &key, "?", 1);
	refusal = -EIO;
	assert_int_equal(chunks_verify(store->chunks, id), -EBADMSG);
	group = chunks_group_new(store->chunks);
	assert_int_equal(chunks_group_add(group, data, LEN, 0), 0);
	assert_int_equal(chunks_group_store(group, batch), 0);
	assert_int_equal(kv_write(store->kv, batch, 0), -EIO);
	chunks_group_free(group);
	kv_batch_free(batch);
	refusal = 0;
	chunks_save_damage(store->chunks);
	store_close(store);
	store_open(store, false);
	assert_int_equal(chunks_list_damage(store->chunks, &list), 1);
	assert_int_equal(list[0].chunk, id);
	free(list);
	free(put(store, data, LEN, 0).pieces);
	assert_reads(store, id, data, LEN);
}

/* --- twins: two groups have stored the same bytes at once --- */

/* Two chunks with the same content, of which the index names the second. */
static void make_twins(struct store *store, const uint8_t *data, int level, uint64_t ret_ids[2])
{
	struct chunks_group *groups[2];
	struct kv_batch *batches[2];

	for (int i = 0; i < 2; i++) {
		size_t count;
		groups[i] = chunks_group_new(store->chunks);
		batches[i] = kv_batch_new();
		assert_int_equal(chunks_group_add(groups[i], data, LEN, level), 0);
		assert_int_equal(chunks_group_store(groups[i], batches[i]), 0);
		ret_ids[i] = chunks_group_pieces(groups[i], 0, &count)->chunk;
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kv_write(store->kv, batches[i], 0), 0);
		kv_batch_free(batches[i]);
		chunks_group_free(groups[i]);
	}
	assert_true(ret_ids[0] != ret_ids[1]);
}

static void test_chunk_that_the_index_does_not_name_is_healed_by_its_twin(void **state)
{
	struct store *store = *state;

	for (int level = 0; level <= 3; level += 3) {
		AUTO_FREE uint8_t *data = text(LEN, 4 + (uint64_t)level);
		uint64_t ids[2];

		make_twins(store, data, level, ids);
		rot(store, ids[0], 300);
		assert_reads(store, ids[0], data, LEN);
		assert_int_equal(sweep_but(store, ids[0]), 0);
		store_close(store);
		store_open(store, false);
		assert_reads(store, ids[0], data, LEN);
	}
}

static void test_twin_that_was_hurt_first_is_healed_when_the_other_is(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 8), *out = xmalloc(LEN);
	uint64_t ids[2];

	make_twins(store, data, 0, ids);
	rot(store, ids[0], 300);
	rot(store, ids[1], 400);
	assert_int_equal(chunks_read(store->chunks, ids[0], 0, LEN, out), -EIO);
	assert_int_equal(chunks_read(store->chunks, ids[1], 0, LEN, out), -EIO);
	free(put(store, data, LEN, 0).pieces);
	assert_reads(store, ids[1], data, LEN);
	assert_reads(store, ids[0], data, LEN);
}

/* The store takes no change when the twin is found, and the collector comes before that is saved. */
static void test_twin_that_could_not_be_noted_is_kept(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 12);
	uint64_t ids[2];

	store_close(store);
	open_refusing(store);
	make_twins(store, data, 0, ids);
	rot(store, ids[0], 300);
	refusal = -EIO;
	assert_reads(store, ids[0], data, LEN);
	refusal = 0;
	assert_int_equal(sweep_but(store, ids[0]), 0);
	assert_reads(store, ids[0], data, LEN);
	chunks_save_damage(store->chunks);
	store_close(store);
	store_open(store, false);
	assert_int_equal(damaged_resolve(store->chunks->damaged, ids[0]), ids[1]);
	assert_reads(store, ids[0], data, LEN);
}

/* The disk could not be read for a while; then what was stored instead rots. Also where that one's header says nothing any more. */
static void test_healed_chunk_that_is_whole_again_is_read_when_what_stands_for_it_rots(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 11), *out = xmalloc(LEN);
	uint64_t replacement, id = make_healed(store, data, &replacement);

	assert_reads(store, id, data, LEN);
	flip_bit(store, id, 100);
	flip_bit(store, replacement, 20);
	assert_reads(store, id, data, LEN);
	assert_int_equal(chunks_read(store->chunks, replacement, 0, LEN, out), -EIO);
	flip_bit(store, replacement, 20);
	flip_bit(store, replacement, 200);
	assert_reads(store, replacement, data, LEN);
	assert_reads(store, id, data, LEN);
	assert_int_equal(sweep_but(store, replacement), 0);
	store_close(store);
	store_open(store, false);
	assert_reads(store, replacement, data, LEN);
}

/* A disk may write a record to a wrong place. What that says of itself is true, but not of this chunk. */
static void test_record_of_another_chunk_is_no_twin(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 5), *other = noise(LEN, 6), *out = xmalloc(LEN);
	struct stored mine = put(store, data, LEN, 0), theirs = put(store, other, LEN, 0);
	struct small_key key = chunk_key(mine.pieces[0].chunk), from = chunk_key(theirs.pieces[0].chunk);
	AUTO_BUF value = BUF_INIT;

	assert_int_equal(kv_get(store->kv, KV_SMALL, from.bytes, from.len, &value), 0);
	put_value(store, KV_SMALL, &key, value.data, value.len);
	assert_int_equal(chunks_read(store->chunks, mine.pieces[0].chunk, 0, LEN, out), -EIO);
	free(mine.pieces);
	free(theirs.pieces);
}

/* The index says that B's content is in A, which is whole or in the list of damaged chunks. A stays what it is. */
static void test_chunk_of_other_content_is_not_healed_by_what_the_index_takes_it_for(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 9), *other = noise(LEN, 10), *out = xmalloc(LEN);
	struct stored mine = put(store, data, LEN, 0), theirs = put(store, other, LEN, 0), again;
	const uint64_t id = mine.pieces[0].chunk;
	uint8_t sha256[DIGEST_LEN];
	uint32_t len;

	assert_int_equal(chunks_digest(store->chunks, theirs.pieces[0].chunk, &len, sha256), 0);
	for (int is_listed = 0; is_listed < 2; is_listed++) {
		struct kv_batch *batch = kv_batch_new();

		if (is_listed)
			damaged_add(store->chunks->damaged, id);
		dedup_put(batch, sha256, len, id);
		assert_int_equal(kv_write(store->kv, batch, 0), 0);
		kv_batch_free(batch);
		again = put(store, other, LEN, 0);
		assert_int_equal(chunks_read(store->chunks, id, 100, 1000, out), 0);
		assert_memory_equal(out, data + 100, 1000);
		assert_reads(store, again.pieces[0].chunk, other, LEN);
		assert_int_equal(chunks_known_damaged(store->chunks, id), is_listed);
		free(again.pieces);
	}
	free(mine.pieces);
	free(theirs.pieces);
}

static int remove_only(void **state)
{
	store_remove_dir(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_a_chunk_that_is_found_damaged_while_it_leaves_the_list_is_in_it), /* first: the fault point acts once */
		STORE_TEST(test_entry_that_cannot_be_read_keeps_the_store_shut),
		cmocka_unit_test_setup_teardown(test_list_with_a_rotten_block_keeps_the_store_shut, setup, remove_only),
		STORE_TEST(test_nothing_is_swept_while_an_entry_cannot_be_read),
		STORE_TEST(test_what_the_store_knows_of_a_chunk_is_not_overwritten),
		STORE_TEST(test_a_chunk_that_could_be_neither_noted_nor_healed_is_noted_later),
		STORE_TEST(test_chunk_that_the_index_does_not_name_is_healed_by_its_twin),
		STORE_TEST(test_twin_that_was_hurt_first_is_healed_when_the_other_is),
		STORE_TEST(test_twin_that_could_not_be_noted_is_kept),
		STORE_TEST(test_healed_chunk_that_is_whole_again_is_read_when_what_stands_for_it_rots),
		STORE_TEST(test_record_of_another_chunk_is_no_twin),
		STORE_TEST(test_chunk_of_other_content_is_not_healed_by_what_the_index_takes_it_for),
	};

	setenv("CORPUSFS_FAULT", FORGET ":sleep500," FORGET ":eio:2", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
