/* A chunk store in a directory of its own, for the tests of lib/chunk; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_CHUNK_STORE_H
#define CORPUSFS_TEST_CHUNK_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunks.h"
#include "lib/format/key.h"

#define MIB (1UL << 20)
#define CACHE_BYTES (8 * MIB)

struct store {
	char dir[64], db[96], ingest[96];
	struct pool *pool;
	struct kv *kv;
	struct chunks *chunks;
};

static inline void store_open(struct store *store, bool create)
{
	struct kv_options options = {.create = create, .cache_bytes = 8 * MIB, .memtable_bytes = 16 * MIB, .threads = 1};
	struct chunks_options chunk_options = {
		.min = 16384, .average = 65536, .max = 262144, .ingest_dir = store->ingest, .cache_bytes = CACHE_BYTES};
	struct error err;

	store->pool = pool_new(2);
	assert_int_equal(kv_open(store->db, &options, &store->kv, &err), 0);
	assert_int_equal(chunks_open(store->kv, store->pool, &chunk_options, &store->chunks, &err), 0);
}

static inline void store_close(struct store *store)
{
	chunks_close(store->chunks);
	kv_close(store->kv);
	pool_free(store->pool);
}

static inline void store_make_dir(struct store *store)
{
	snprintf(store->dir, sizeof(store->dir), "/tmp/corpusfs-chunks-XXXXXX");
	assert_non_null(mkdtemp(store->dir));
	snprintf(store->db, sizeof(store->db), "%s/db", store->dir);
	snprintf(store->ingest, sizeof(store->ingest), "%s/ingest", store->dir);
}

static inline void store_remove_dir(const struct store *store)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s", store->dir);

	assert_int_equal(system(command), 0);
}

static inline int setup(void **state)
{
	struct store *store = xcalloc(1, sizeof(*store));

	store_make_dir(store);
	store_open(store, true);
	*state = store;
	return 0;
}

static inline int teardown(void **state)
{
	struct store *store = *state;

	store_close(store);
	store_remove_dir(store);
	free(store);
	return 0;
}

/* So that what is read comes from the disk. Between store_close() and store_open(). */
static inline void forget_pages(const struct store *store)
{
	AUTO_FREE char *command =
		xasprintf("sync %s/*.sst; for f in %s/*.sst; do dd if=$f iflag=nocache count=0 status=none; done", store->db, store->db);

	assert_int_equal(system(command), 0);
}

static inline uint8_t *noise(size_t len, uint64_t seed)
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
static inline uint8_t *text(size_t len, uint64_t seed)
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

static inline void assert_reads(const struct store *store, uint64_t id, const uint8_t *data, size_t len)
{
	AUTO_FREE uint8_t *out = xmalloc(len);

	assert_int_equal(chunks_read(store->chunks, id, 0, len, out), 0);
	assert_memory_equal(out, data, len);
}

static inline struct stored take_pieces(const struct chunks_group *group, size_t number)
{
	struct stored stored;
	const struct chunk_piece *pieces = chunks_group_pieces(group, number, &stored.count);

	stored.pieces = xcalloc(stored.count + 1, sizeof(*pieces));
	if (stored.count)
		memcpy(stored.pieces, pieces, stored.count * sizeof(*pieces));
	return stored;
}

static inline struct stored put(struct store *store, const void *data, size_t len, int level)
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

static inline void put_value(struct store *store, enum kv_family family, const struct small_key *key, const void *value, size_t len)
{
	struct kv_batch *batch = kv_batch_new();

	kv_batch_put(batch, family, key->bytes, key->len, value, len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

/* Of a small chunk's record. */
static inline void flip_bit(struct store *store, uint64_t id, size_t at)
{
	struct small_key key = chunk_key(id);
	AUTO_BUF value = BUF_INIT;

	assert_int_equal(kv_get(store->kv, KV_SMALL, key.bytes, key.len, &value), 0);
	value.data[at] ^= 0x10;
	put_value(store, KV_SMALL, &key, value.data, value.len);
}

static inline void assert_reads_back(struct store *store, const struct stored *stored, const uint8_t *data, size_t len)
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

#define STORE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
