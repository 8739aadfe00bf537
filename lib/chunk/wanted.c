#include "lib/chunk/wanted.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/digest.h"
#include "lib/format/record.h"

struct sought {
	uint8_t sha256[DIGEST_LEN];
	uint32_t length;
	UT_hash_handle hh;
};

struct wanted {
	struct chunks *chunks;
	struct sought *table;
	struct digest *digest;
	uint64_t found, found_bytes;
	bool in_run; /* the next window is not the first of its run */
};

static int by_id(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* The index leads from content to chunks, so all of it is walked. */
static int find_identities(struct wanted *wanted, const uint64_t *ids, size_t count)
{
	struct kv_iter *iter = kv_iter_new_flags(wanted->chunks->kv, KV_DEDUP, NULL, 0, NULL, 0, KV_ITER_SCAN);
	int ret;

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter)) {
		struct dedup_record record;
		struct sought *sought;
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &len);

		if (key_len != DIGEST_LEN || dedup_record_decode(value, len, &record) || !bsearch(&record.chunk, ids, count, sizeof(*ids), by_id))
			continue;
		sought = xcalloc(1, sizeof(*sought));
		memcpy(sought->sha256, key, DIGEST_LEN);
		sought->length = record.length;
		HASH_ADD(hh, wanted->table, sha256, DIGEST_LEN, sought);
	}
	ret = kv_iter_status(iter);
	kv_iter_free(iter);
	return ret;
}

int wanted_new(struct chunks *chunks, const uint64_t *ids, size_t count, struct wanted **ret_wanted)
{
	struct wanted *wanted = xcalloc(1, sizeof(*wanted));
	int ret;

	wanted->chunks = chunks;
	wanted->digest = digest_new();
	ret = count ? find_identities(wanted, ids, count) : 0;
	if (ret) {
		wanted_free(wanted);
		return ret;
	}
	*ret_wanted = wanted;
	return 0;
}

static void drop(struct wanted *wanted, struct sought *sought)
{
	HASH_DEL(wanted->table, sought);
	free(sought);
}

void wanted_free(struct wanted *wanted)
{
	struct sought *sought, *next;

	if (!wanted)
		return;
	HASH_ITER (hh, wanted->table, sought, next)
		drop(wanted, sought);
	digest_free(wanted->digest);
	free(wanted);
}

/* Stored like any write: the index names the damaged chunk, which is found damaged, and replaced. */
static int store_piece(struct chunks *chunks, const uint8_t *data, size_t len)
{
	struct chunks_group *group = chunks_group_new(chunks);
	struct kv_batch *batch = kv_batch_new();
	int ret;

	(void)chunks_group_add(group, data, len, 1);
	ret = chunks_group_store(group, batch);
	if (!ret)
		ret = kv_write(chunks->kv, batch, KV_SYNC);
	chunks_group_free(group);
	kv_batch_free(batch);
	return ret;
}

static int look_at_piece(struct wanted *wanted, const uint8_t *data, size_t len, bool apply)
{
	uint8_t sha256[DIGEST_LEN];
	struct sought *sought;
	int ret;

	digest_once(wanted->digest, data, len, sha256);
	HASH_FIND(hh, wanted->table, sha256, DIGEST_LEN, sought);
	if (!sought || sought->length != len)
		return 0;
	ret = apply ? store_piece(wanted->chunks, data, len) : 0;
	if (ret)
		return ret;
	wanted->found++;
	wanted->found_bytes += len;
	drop(wanted, sought);
	return 0;
}

int wanted_look(struct wanted *wanted, const uint8_t *data, size_t len, bool last, bool apply, size_t *ret_used)
{
	size_t used = 0;
	int ret = 0;

	while (!ret && used < len && wanted->table) {
		const size_t left = len - used;
		size_t piece = cut_next(&wanted->chunks->cut, data + used, left);

		/* a short run is one piece, as group_cut() has it */
		if (!wanted->in_run && last && len <= wanted->chunks->cut.average)
			piece = left;
		if (piece == left && !last)
			break;
		ret = look_at_piece(wanted, data + used, piece, apply);
		used += piece;
	}
	wanted->in_run = !last;
	*ret_used = wanted->table ? used : len;
	return ret;
}

uint64_t wanted_found(const struct wanted *wanted)
{
	return wanted->found;
}

uint64_t wanted_found_bytes(const struct wanted *wanted)
{
	return wanted->found_bytes;
}

size_t wanted_left(const struct wanted *wanted)
{
	return HASH_COUNT(wanted->table);
}
