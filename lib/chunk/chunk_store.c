#include "lib/chunk/chunk_store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <uthash.h>
/* inlined: the state of a streamed hash is no part of the shared library's interface */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/base/file.h"

/* superblock.h allows no larger chunks */
#define PLAIN_MAX (16U << 20)
#define CHECKSUM_LEN 8
#define DEDUP_VALUE_LEN 12

struct damaged {
	uint64_t id;
	UT_hash_handle hh;
};

static bool power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

static int check_options(const struct chunks_options *options, struct error *err)
{
	if (!power_of_two(options->min) || !power_of_two(options->average) || !power_of_two(options->max) || options->min < 64 ||
	    options->min >= options->average || options->average >= options->max || options->max > PLAIN_MAX)
		return error_set(err, -EINVAL, "chunk sizes %u, %u, %u are not ascending powers of two up to 16 MiB",
		                 options->min, options->average, options->max);
	return 0;
}

static int prepare_ingest_dir(const char *path, struct error *err)
{
	int ret = mkdir(path, 0700) && errno != EEXIST ? -errno : 0;

	if (!ret)
		ret = file_empty_dir(path);
	if (ret)
		error_default(err, ret, "%s cannot be prepared", path);
	return ret;
}

static void mark_lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attributes;

	/* the collector must not starve behind a steady stream of groups */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

int chunks_open(struct kv *kv, struct pool *pool, const struct chunks_options *options, struct chunks **ret_chunks,
                struct error *err)
{
	struct chunks *chunks;
	struct ids *ids;
	int ret = check_options(options, err);

	if (!ret)
		ret = prepare_ingest_dir(options->ingest_dir, err);
	if (!ret)
		ret = ids_open(kv, &ids, err);
	if (ret)
		return ret;
	chunks = xcalloc(1, sizeof(*chunks));
	chunks->kv = kv;
	chunks->pool = pool;
	chunks->ids = ids;
	chunks->ingest_dir = xstrdup(options->ingest_dir);
	chunks->cache = cache_new(options->cache_bytes, options->max);
	chunks->bulk = kv_tables_new(kv, KV_BULK);
	chunks->small = kv_tables_new(kv, KV_SMALL);
	chunks->ahead = ahead_new(chunks->bulk, chunks->small);
	chunks->scratch = scratch_pool_new();
	cut_init(&chunks->cut, options->min, options->average, options->max);
	mark_lock_init(&chunks->mark_lock);
	pthread_mutex_init(&chunks->groups_lock, NULL);
	pthread_mutex_init(&chunks->damaged_lock, NULL);
	*ret_chunks = chunks;
	return 0;
}

void chunks_close(struct chunks *chunks)
{
	struct damaged *damaged, *next;

	if (!chunks)
		return;
	assert(!chunks->groups && !chunks->mark);
	HASH_ITER (hh, chunks->damaged, damaged, next) {
		HASH_DEL(chunks->damaged, damaged);
		free(damaged);
	}
	ahead_free(chunks->ahead);
	kv_tables_free(chunks->bulk);
	kv_tables_free(chunks->small);
	ids_close(chunks->ids);
	scratch_pool_free(chunks->scratch);
	cache_free(chunks->cache);
	free(chunks->ingest_dir);
	pthread_rwlock_destroy(&chunks->mark_lock);
	pthread_mutex_destroy(&chunks->groups_lock);
	pthread_mutex_destroy(&chunks->damaged_lock);
	free(chunks);
}

uint64_t chunk_checksum(uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t stored_len)
{
	XXH3_state_t state = {0}; /* reset_withSeed looks at what the state held before */

	XXH3_64bits_reset_withSeed(&state, id);
	XXH3_64bits_update(&state, header + CHECKSUM_LEN, CHUNK_HEADER_LEN - CHECKSUM_LEN);
	XXH3_64bits_update(&state, stored, stored_len);
	return XXH3_64bits_digest(&state);
}

int chunk_open_record(uint64_t id, const uint8_t *value, size_t len, struct chunk_header *ret_header)
{
	struct chunk_header header;
	int ret = chunk_header_decode(value, len, &header);

	if (ret)
		return ret;
	if (XXH3_64bits_withSeed(value + CHECKSUM_LEN, len - CHECKSUM_LEN, id) != header.checksum)
		return -EBADMSG;
	if (header.plain_len > PLAIN_MAX || header.codec > CHUNK_CODEC_ZSTD)
		return -EBADMSG;
	if (header.codec == CHUNK_CODEC_PLAIN && header.stored_len != header.plain_len)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

void chunk_note_damaged(struct chunks *chunks, uint64_t id)
{
	struct damaged *damaged;

	pthread_mutex_lock(&chunks->damaged_lock);
	HASH_FIND(hh, chunks->damaged, &id, sizeof(id), damaged);
	if (!damaged) {
		damaged = xcalloc(1, sizeof(*damaged));
		damaged->id = id;
		HASH_ADD(hh, chunks->damaged, id, sizeof(damaged->id), damaged);
	}
	pthread_mutex_unlock(&chunks->damaged_lock);
	atomic_store(&chunks->any_damaged, true);
}

bool chunks_is_damaged(struct chunks *chunks, uint64_t id)
{
	struct damaged *damaged;

	if (!atomic_load(&chunks->any_damaged))
		return false;
	pthread_mutex_lock(&chunks->damaged_lock);
	HASH_FIND(hh, chunks->damaged, &id, sizeof(id), damaged);
	pthread_mutex_unlock(&chunks->damaged_lock);
	return damaged;
}

int dedup_get(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint64_t *ret_id, uint32_t *ret_length)
{
	AUTO_BUF value = BUF_INIT;
	struct reader reader;
	uint32_t length;
	uint64_t id;
	int ret = kv_get(chunks->kv, KV_DEDUP, sha256, DIGEST_LEN, &value);

	if (ret)
		return ret;
	reader = reader_over(value.data, value.len);
	id = read_le64(&reader);
	length = read_le32(&reader);
	if (reader.bad || reader.left || (id & ~CHUNK_BULK) == CHUNK_NONE)
		return -ENOENT;
	*ret_id = id;
	*ret_length = length;
	return 0;
}

int dedup_find(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t *ret_id)
{
	uint32_t stored_length;
	uint64_t id;
	int ret = dedup_get(chunks, sha256, &id, &stored_length);

	if (ret)
		return ret;
	if (stored_length != length || id >= ids_next(chunks->ids, id & CHUNK_BULK) || chunks_is_damaged(chunks, id))
		return -ENOENT;
	*ret_id = id;
	return 0;
}

void dedup_put(struct kv_batch *batch, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t id)
{
	uint8_t value[DEDUP_VALUE_LEN];

	for (unsigned i = 0; i < 8; i++)
		value[i] = (uint8_t)(id >> 8 * i);
	for (unsigned i = 0; i < 4; i++)
		value[8 + i] = (uint8_t)(length >> 8 * i);
	kv_batch_put(batch, KV_DEDUP, sha256, DIGEST_LEN, value, sizeof(value));
}

int chunks_digest(struct chunks *chunks, uint64_t id, uint32_t *ret_len, uint8_t ret_sha256[DIGEST_LEN])
{
	struct small_key key = chunk_key(id);
	struct chunk_header header;
	struct kv_pin *pin;
	const uint8_t *value;
	size_t len;
	int ret = kv_pin(chunks->kv, chunk_family(id), key.bytes, key.len, &pin, &value, &len);

	if (!ret) {
		ret = chunk_open_record(id, value, len, &header);
		if (!ret) {
			*ret_len = header.plain_len;
			memcpy(ret_sha256, header.sha256, DIGEST_LEN);
		}
		kv_unpin(pin);
	}
	if (ret == -EBADMSG || ret == -ENOENT)
		chunk_note_damaged(chunks, id);
	return !ret || ret == -ENOMEM ? ret : -EIO;
}

int chunks_stored(struct chunks *chunks, uint64_t id, uint64_t *ret_bytes)
{
	struct small_key key = chunk_key(id);
	struct kv_pin *pin;
	const uint8_t *value;
	size_t len;
	int ret = kv_pin(chunks->kv, chunk_family(id), key.bytes, key.len, &pin, &value, &len);

	if (ret)
		return ret;
	*ret_bytes = len;
	kv_unpin(pin);
	return 0;
}

uint64_t chunks_estimate(struct chunks *chunks)
{
	return kv_estimate_keys(chunks->kv, KV_BULK) + kv_estimate_keys(chunks->kv, KV_SMALL);
}

static int verify_record(struct chunks *chunks, uint64_t id, const uint8_t *value, size_t len)
{
	struct chunk_header header;
	AUTO_FREE uint8_t *plain = NULL;
	uint8_t sha256[DIGEST_LEN];
	struct scratch *tools;
	int ret = chunk_open_record(id, value, len, &header);

	if (ret)
		return ret;
	if (header.codec == CHUNK_CODEC_ZSTD) {
		plain = malloc(MAX(header.plain_len, 1));
		ret = plain ? chunk_unpack(chunks, &header, plain) : -ENOMEM;
		if (ret)
			return ret;
	}
	tools = scratch_take(chunks->scratch);
	digest_once(tools->digest, plain ? plain : header.stored, header.plain_len, sha256);
	scratch_put(chunks->scratch, tools);
	return memcmp(sha256, header.sha256, DIGEST_LEN) ? -EBADMSG : 0;
}

int chunks_verify(struct chunks *chunks, uint64_t id)
{
	struct small_key key = chunk_key(id);
	struct kv_pin *pin;
	const uint8_t *value;
	size_t len;
	int ret = kv_pin(chunks->kv, chunk_family(id), key.bytes, key.len, &pin, &value, &len);

	if (!ret) {
		ret = verify_record(chunks, id, value, len);
		kv_unpin(pin);
	}
	if (ret == -EBADMSG || ret == -ENOENT)
		chunk_note_damaged(chunks, id);
	return ret;
}
