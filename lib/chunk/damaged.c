#include "lib/chunk/damaged.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/format/key.h"
#include "lib/format/record.h"

#define TELL_AGAIN_MS (10U * 60 * 1000)
#define CHAIN_MAX 64 /* what stands for a chunk may be damaged in its turn; a longer chain is damage of its own */

struct entry {
	uint64_t id;
	struct damage_record record;
	bool unsaved;
	uint64_t told_ms; /* 0: nobody was told */
	UT_hash_handle hh;
};

struct damaged {
	struct kv *kv;
	atomic_bool any;      /* the table is not empty; saves the lock */
	pthread_mutex_t lock; /* guards all below */
	struct entry *table;
	bool unsaved; /* an entry is */
};

static struct entry *find(struct damaged *damaged, uint64_t id)
{
	struct entry *entry;

	HASH_FIND(hh, damaged->table, &id, sizeof(id), entry);
	return entry;
}

static struct entry *add_entry(struct damaged *damaged, uint64_t id, const struct damage_record *record)
{
	struct entry *entry = xcalloc(1, sizeof(*entry));

	entry->id = id;
	entry->record = *record;
	HASH_ADD(hh, damaged->table, id, sizeof(entry->id), entry);
	atomic_store(&damaged->any, true);
	return entry;
}

static int load(struct damaged *damaged)
{
	struct small_key first = catalog_key_damage(0), end = catalog_key_damage(UINT64_MAX);
	struct kv_iter *iter = kv_iter_new(damaged->kv, KV_CATALOG, first.bytes, first.len, end.bytes, end.len);
	int ret = 0;

	for (kv_iter_first(iter); !ret && kv_iter_valid(iter); kv_iter_next(iter)) {
		struct damage_record record;
		size_t key_len, len;
		uint64_t id;
		const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &len);

		ret = catalog_key_damage_parse(key, key_len, &id);
		if (!ret)
			ret = damage_record_decode(value, len, &record);
		if (!ret)
			(void)add_entry(damaged, id, &record);
	}
	if (!ret)
		ret = kv_iter_status(iter);
	kv_iter_free(iter);
	return ret;
}

int damaged_open(struct kv *kv, struct damaged **ret_damaged, struct error *err)
{
	struct damaged *damaged = xcalloc(1, sizeof(*damaged));
	int ret;

	damaged->kv = kv;
	pthread_mutex_init(&damaged->lock, NULL);
	ret = load(damaged);
	/* Who only reads sweeps nothing; where something stands for a chunk and that is not known, reading it is an error. */
	if (ret && !kv_read_only(kv)) {
		damaged_close(damaged);
		(void)error_set(err, ret, "the store's list of damaged chunks cannot be read: %s", error_text(ret));
		error_hint(err, "it can be mounted with -o ro; corpusfs repair makes it writable again");
		return ret;
	}
	*ret_damaged = damaged;
	return 0;
}

static void drop_entry(struct damaged *damaged, struct entry *entry)
{
	HASH_DEL(damaged->table, entry);
	free(entry);
}

void damaged_close(struct damaged *damaged)
{
	struct entry *entry, *next;

	if (!damaged)
		return;
	HASH_ITER (hh, damaged->table, entry, next)
		drop_entry(damaged, entry);
	pthread_mutex_destroy(&damaged->lock);
	free(damaged);
}

static void put_record(struct kv_batch *batch, const struct entry *entry)
{
	struct small_key key = catalog_key_damage(entry->id);
	AUTO_BUF value = BUF_INIT;

	damage_record_encode(&entry->record, &value);
	kv_batch_put(batch, KV_CATALOG, key.bytes, key.len, value.data, value.len);
}

/* What the store says of the chunk. 1: it is in the entry now; 0: nothing. Caller holds the lock. */
static int read_record(struct damaged *damaged, struct entry *entry)
{
	struct small_key key = catalog_key_damage(entry->id);
	struct damage_record record;
	AUTO_BUF value = BUF_INIT;
	int ret = kv_get(damaged->kv, KV_CATALOG, key.bytes, key.len, &value);

	if (!ret)
		ret = damage_record_decode(value.data, value.len, &record);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	entry->record = record;
	return 1;
}

/* Never over a record that says what stands for the chunk. Caller holds the lock. */
static void save_entry(struct damaged *damaged, struct entry *entry, unsigned flags)
{
	const uint64_t twin = entry->record.replacement;
	struct kv_batch *batch = kv_batch_new();
	int ret = read_record(damaged, entry);

	if (ret >= 0 && entry->record.replacement == CHUNK_NONE)
		entry->record.replacement = twin;
	if (!ret || (ret > 0 && twin != CHUNK_NONE && entry->record.replacement == twin)) {
		put_record(batch, entry);
		ret = kv_write(damaged->kv, batch, flags);
		/* a batch that is on its way may say otherwise: the record has the last word */
		if (!ret)
			entry->record.replacement = CHUNK_NONE;
	}
	entry->unsaved = ret < 0;
	damaged->unsaved |= entry->unsaved;
	kv_batch_free(batch);
}

void damaged_add(struct damaged *damaged, uint64_t id)
{
	pthread_mutex_lock(&damaged->lock);
	if (!find(damaged, id))
		save_entry(damaged, add_entry(damaged, id, &(struct damage_record){.found = clock_now().tv_sec}), 0);
	pthread_mutex_unlock(&damaged->lock);
}

void damaged_put_twin(struct damaged *damaged, uint64_t id, uint64_t twin)
{
	struct entry *entry;

	pthread_mutex_lock(&damaged->lock);
	entry = find(damaged, id);
	if (entry) {
		entry->record.replacement = twin;
		save_entry(damaged, entry, KV_GIVES_ROOM);
	}
	pthread_mutex_unlock(&damaged->lock);
}

void damaged_save(struct damaged *damaged)
{
	struct entry *entry, *next;

	pthread_mutex_lock(&damaged->lock);
	if (damaged->unsaved) {
		damaged->unsaved = false;
		HASH_ITER (hh, damaged->table, entry, next)
			if (entry->unsaved)
				save_entry(damaged, entry, 0);
	}
	pthread_mutex_unlock(&damaged->lock);
}

/*
 * A batch that says what stands for a chunk may have been written meanwhile. Negative errno: whether one was cannot be read. Caller holds
 * the lock.
 */
static int look_up(struct damaged *damaged, struct entry *entry)
{
	const int ret = entry->record.replacement == CHUNK_NONE ? read_record(damaged, entry) : 0;

	return MIN(ret, 0);
}

uint64_t damaged_resolve(struct damaged *damaged, uint64_t id)
{
	struct entry *entry;

	if (!atomic_load(&damaged->any))
		return id;
	pthread_mutex_lock(&damaged->lock);
	for (unsigned i = 0; i < CHAIN_MAX && (entry = find(damaged, id)); i++) {
		(void)!look_up(damaged, entry);
		if (entry->record.replacement == CHUNK_NONE)
			break;
		id = entry->record.replacement;
	}
	pthread_mutex_unlock(&damaged->lock);
	return id;
}

/* What is read for a chunk, as far as memory knows. Caller holds the lock. */
static uint64_t known_end(struct damaged *damaged, const struct entry *entry)
{
	uint64_t id = entry->id;

	for (unsigned i = 0; i < CHAIN_MAX && entry && entry->record.replacement != CHUNK_NONE; i++) {
		id = entry->record.replacement;
		entry = find(damaged, id);
	}
	return id;
}

size_t damaged_read_from(struct damaged *damaged, uint64_t end, uint64_t *ret_ids, size_t max)
{
	struct entry *entry, *next;
	size_t count = 0;

	pthread_mutex_lock(&damaged->lock);
	HASH_ITER (hh, damaged->table, entry, next)
		if (count < max && entry->id != end && known_end(damaged, entry) == end)
			ret_ids[count++] = entry->id;
	pthread_mutex_unlock(&damaged->lock);
	return count;
}

/* In memory nothing stands for it until somebody finds the record: the batch may come to nothing. What is saved later does not undo it (save_entry). */
void damaged_replace(struct damaged *damaged, struct kv_batch *batch, uint64_t id, uint64_t replacement)
{
	struct entry *entry;

	pthread_mutex_lock(&damaged->lock);
	entry = find(damaged, id);
	if (entry) {
		struct entry healed = *entry;

		healed.record.replacement = replacement;
		put_record(batch, &healed);
		entry->record.replacement = CHUNK_NONE;
	}
	pthread_mutex_unlock(&damaged->lock);
}

bool damaged_any(const struct damaged *damaged)
{
	return atomic_load(&damaged->any);
}

bool damaged_get(struct damaged *damaged, uint64_t id, struct damage_record *ret_record)
{
	struct entry *entry;

	pthread_mutex_lock(&damaged->lock);
	entry = find(damaged, id);
	if (entry) {
		(void)!look_up(damaged, entry);
		*ret_record = entry->record;
	}
	pthread_mutex_unlock(&damaged->lock);
	return entry != NULL;
}

/* As damaged_replace: while nothing stands for it in memory, the record has the last word. */
void damaged_put_back(struct damaged *damaged, struct kv_batch *batch, uint64_t id, int64_t found)
{
	struct entry *entry;

	pthread_mutex_lock(&damaged->lock);
	entry = find(damaged, id);
	if (entry) {
		entry->record = (struct damage_record){.found = found, .replacement = CHUNK_NONE};
		entry->unsaved = false;
		entry->told_ms = 0;
		put_record(batch, entry);
	}
	pthread_mutex_unlock(&damaged->lock);
}

int damaged_forget(struct damaged *damaged, struct kv_batch *batch, unsigned flags, const uint64_t *ids, size_t count)
{
	struct entry *entry;
	int ret;

	for (size_t i = 0; i < count; i++) {
		struct small_key key = catalog_key_damage(ids[i]);

		kv_batch_delete(batch, KV_CATALOG, key.bytes, key.len);
	}
	pthread_mutex_lock(&damaged->lock);
	ret = fault_point("damage-before-forget");
	if (!ret)
		ret = kv_write(damaged->kv, batch, flags);
	for (size_t i = 0; i < count && !ret; i++) {
		entry = find(damaged, ids[i]);
		if (entry)
			drop_entry(damaged, entry);
	}
	pthread_mutex_unlock(&damaged->lock);
	return ret;
}

bool damaged_tell(struct damaged *damaged, uint64_t id)
{
	struct entry *entry;
	uint64_t now;
	bool tell;

	if (!atomic_load(&damaged->any))
		return false;
	pthread_mutex_lock(&damaged->lock);
	now = MAX(clock_ms(), 1U); /* not before any that is noted */
	entry = find(damaged, id);
	tell = entry && !look_up(damaged, entry) && entry->record.replacement == CHUNK_NONE &&
	       (!entry->told_ms || now - entry->told_ms >= TELL_AGAIN_MS);
	if (tell)
		entry->told_ms = now;
	pthread_mutex_unlock(&damaged->lock);
	return tell;
}

static int by_id(const void *a, const void *b)
{
	const struct chunk_damage *left = a, *right = b;

	return left->chunk < right->chunk ? -1 : left->chunk > right->chunk;
}

size_t damaged_list(struct damaged *damaged, struct chunk_damage **ret_list)
{
	struct chunk_damage *list;
	struct entry *entry, *next;
	size_t count = 0;

	pthread_mutex_lock(&damaged->lock);
	list = xcalloc(HASH_COUNT(damaged->table) + 1, sizeof(*list));
	HASH_ITER (hh, damaged->table, entry, next) {
		const int error = look_up(damaged, entry);

		list[count++] = (struct chunk_damage){entry->id, entry->record.found, entry->record.replacement, error};
	}
	pthread_mutex_unlock(&damaged->lock);
	qsort(list, count, sizeof(*list), by_id);
	*ret_list = list;
	return count;
}
