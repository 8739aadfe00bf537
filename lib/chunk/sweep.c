/*
 * The collector's half of the chunk store: marking what is referred to, and removing the rest.
 *
 * The rule: a chunk is removed only if no extent refers to it and none ever will. What the caller does:
 *
 *   chunks_mark_begin -> walk the extents of all versions, in ONE iterator made after that, adding their chunks to the set
 *   -> chunks_sweep -> chunks_mark_end
 *
 * S1  Ids are given out, and hits on old ids are taken, with the mark lock shared, and are seen in their group before the mark lock is let go.
 *     chunks_mark_begin() holds the mark lock exclusively: each id that a group ever gets was either in the group by then, or comes later.
 * S2  Whoever writes an extent holds a group that has the extent's chunk in it (stored, or by chunks_group_refer()) until after the
 *     batch with the extent is written; and an extent that is the source of a reference exists while chunks_group_refer() is called.
 *
 * Let X be a chunk below the watermark that the sweep removes, and suppose that after the removal an extent E refers to X. Take the
 * first such E (in the order of writing) that the walk did not see; E was then written after the walk's iterator was made, by a group G.
 *   - G had X before chunks_mark_begin(): G lived then, or had written E already, so that the iterator would have seen E (S2). As G
 *     lived, X was added to the set by chunks_mark_begin().
 *   - G got X later as a new id: then X is at or above the watermark.
 *   - G got X later by a hit in the dedup index, or by chunks_group_refer(): X was added to the set with the mark lock shared. The sweep
 *     tests X, and writes its removal and that of its dedup entry in one batch, with the mark lock exclusive. If the hit came before, the
 *     test found X. After it there is no entry that names X, and there can be none: entries are written by the group that made X only
 *     (which is living, hence marked, or has written its batch before). And for chunks_group_refer() there is a source extent: the walk
 *     saw it (X is in the set), or it is older than E and unseen by the walk, against the choice of E.
 * So X was in the set when it was tested: contradiction.
 *
 * A crash loses the end of the WAL, never its middle: a removal that survives comes after the deletion of the extents that made the chunk
 * dead. Dropping whole files is not ordered by the WAL, therefore kv_sync() comes first.
 *
 * A dead chunk whose checksum is wrong stays: its SHA-256 cannot be trusted, so its dedup entry would be left behind, naming nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/chunk/chunks_group.h"
#include "lib/chunk/set.h"

#define SWEEP_BATCH 256
/* From this many dead chunks in a row on, files may be dropped whole. */
#define DROP_MIN 512

struct dead {
	uint64_t id;
	uint64_t bytes; /* of the record */
	uint8_t sha256[DIGEST_LEN];
	bool sound;
	bool removed;
};

struct sweep {
	struct chunks *chunks;
	const struct chunk_set *set;
	uint64_t at, end;
	bool dry_run;
	struct dead dead[SWEEP_BATCH];
	size_t count;
	uint64_t run_first, run_last, run_count; /* removed, with nothing alive or kept between them */
	uint64_t chunks_removed, bytes_removed;
};

void chunks_mark_begin(struct chunks *chunks, struct chunk_set *(*make)(uint64_t bulk_end, uint64_t small_end),
                       struct chunk_set **ret_set, uint64_t *ret_bulk_end, uint64_t *ret_small_end)
{
	pthread_rwlock_wrlock(&chunks->mark_lock);
	chunks->mark_bulk_end = ids_next(chunks->ids, true);
	chunks->mark_small_end = ids_next(chunks->ids, false);
	chunks->mark = make(chunks->mark_bulk_end, chunks->mark_small_end);
	pthread_mutex_lock(&chunks->groups_lock);
	for (const struct chunks_group *group = chunks->groups; group; group = chunks_group_next(group))
		chunks_group_mark(group, chunks->mark);
	pthread_mutex_unlock(&chunks->groups_lock);
	*ret_set = chunks->mark;
	*ret_bulk_end = chunks->mark_bulk_end;
	*ret_small_end = chunks->mark_small_end;
	pthread_rwlock_unlock(&chunks->mark_lock);
}

void chunks_mark_end(struct chunks *chunks)
{
	pthread_rwlock_wrlock(&chunks->mark_lock);
	chunks->mark = NULL;
	pthread_rwlock_unlock(&chunks->mark_lock);
}

static int drop_run(struct sweep *sweep)
{
	struct small_key first = chunk_key(sweep->run_first), end = chunk_key(sweep->run_last + 1);
	uint64_t count = sweep->run_count;
	int ret;

	sweep->run_count = 0;
	if (count < DROP_MIN)
		return 0;
	ret = kv_sync(sweep->chunks->kv);
	if (ret)
		return ret;
	return kv_drop_range(sweep->chunks->kv, chunk_family(sweep->run_first), first.bytes, first.len, end.bytes, end.len);
}

static void take_dead(struct sweep *sweep, uint64_t id, const struct kv_iter *iter)
{
	struct dead *dead = &sweep->dead[sweep->count++];
	struct chunk_header header;
	size_t len;
	const uint8_t *value = kv_iter_value(iter, &len);

	*dead = (struct dead){.id = id, .bytes = len};
	dead->sound = !chunk_open_record(id, value, len, &header);
	if (dead->sound)
		memcpy(dead->sha256, header.sha256, DIGEST_LEN);
}

/*
 * Finds the next dead chunks from sweep->at on, reading nothing of the living. The iterator is a fresh one for each batch, since it keeps
 * dropped files on the disk.
 */
static int collect(struct sweep *sweep)
{
	struct small_key first = chunk_key(sweep->at), end = chunk_key(sweep->end);
	struct kv_iter *iter = kv_iter_new_flags(sweep->chunks->kv, chunk_family(sweep->at), first.bytes, first.len, end.bytes,
	                                         end.len, KV_ITER_SCAN);
	uint64_t found = sweep->at;
	int ret = 0;

	sweep->count = 0;
	while (sweep->count < SWEEP_BATCH) {
		uint64_t wanted = chunk_set_next_absent(sweep->set, sweep->at, sweep->end);
		struct small_key key = chunk_key(wanted);
		const uint8_t *bytes;
		size_t len;

		sweep->at = wanted;
		if (wanted >= sweep->end)
			break;
		if (sweep->count && wanted == found + 1)
			kv_iter_next(iter);
		else
			kv_iter_seek(iter, key.bytes, key.len);
		if (!kv_iter_valid(iter)) {
			sweep->at = sweep->end;
			break;
		}
		bytes = kv_iter_key(iter, &len);
		ret = chunk_key_parse(bytes, len, &found);
		if (ret)
			break;
		if (!chunk_set_has(sweep->set, found))
			take_dead(sweep, found, iter);
		sweep->at = found + 1;
	}
	if (!ret)
		ret = kv_iter_status(iter);
	kv_iter_free(iter);
	return ret;
}

/* With the mark lock exclusive. */
static int remove_under_lock(struct sweep *sweep, struct kv_batch *batch)
{
	for (size_t i = 0; i < sweep->count; i++) {
		struct dead *dead = &sweep->dead[i];
		struct small_key key = chunk_key(dead->id);
		uint64_t named;
		uint32_t length;
		int ret;

		if (!dead->sound || chunk_set_has(sweep->set, dead->id))
			continue;
		dead->removed = true;
		if (sweep->dry_run)
			continue;
		/* the same bytes may have been stored twice at once; the entry names one of the chunks */
		ret = dedup_get(sweep->chunks, dead->sha256, &named, &length);
		if (ret && ret != -ENOENT)
			return ret;
		if (!ret && named == dead->id)
			kv_batch_delete(batch, KV_DEDUP, dead->sha256, DIGEST_LEN);
		kv_batch_delete(batch, chunk_family(dead->id), key.bytes, key.len);
	}
	return kv_batch_count(batch) ? kv_write(sweep->chunks->kv, batch, 0) : 0;
}

static int remove_dead(struct sweep *sweep)
{
	struct kv_batch *batch = kv_batch_new();
	int ret;

	pthread_rwlock_wrlock(&sweep->chunks->mark_lock);
	ret = remove_under_lock(sweep, batch);
	pthread_rwlock_unlock(&sweep->chunks->mark_lock);
	kv_batch_free(batch);
	return ret ? ret : fault_point("chunks-sweep-batch");
}

static int add_to_run(struct sweep *sweep, uint64_t id)
{
	int ret = 0;

	if (sweep->run_count && chunk_set_next_member(sweep->set, sweep->run_last + 1, id) != id)
		ret = drop_run(sweep);
	if (!sweep->run_count)
		sweep->run_first = id;
	sweep->run_last = id;
	sweep->run_count++;
	return ret;
}

/* Counts what was removed; drops each run of dead chunks that has come to its end. */
static int account(struct sweep *sweep)
{
	int ret = 0;

	for (size_t i = 0; i < sweep->count && !ret; i++) {
		const struct dead *dead = &sweep->dead[i];

		sweep->chunks_removed += dead->removed;
		sweep->bytes_removed += dead->removed ? dead->bytes : 0;
		if (sweep->dry_run)
			continue;
		ret = dead->removed ? add_to_run(sweep, dead->id) : drop_run(sweep);
	}
	return ret;
}

static int sweep_all(struct sweep *sweep, bool (*stop)(void *arg), void *stop_arg)
{
	int ret = 0;

	while (!ret && sweep->at < sweep->end && !(stop && stop(stop_arg))) {
		ret = collect(sweep);
		if (!ret && sweep->count)
			ret = remove_dead(sweep);
		if (!ret)
			ret = account(sweep);
	}
	return ret ? ret : drop_run(sweep);
}

int chunks_sweep(struct chunks *chunks, const struct chunk_set *set, uint64_t first, uint64_t end, bool (*stop)(void *arg),
                 void *stop_arg, bool dry_run, uint64_t *ret_chunks, uint64_t *ret_bytes)
{
	struct sweep *sweep;
	uint64_t watermark = 0;
	int ret;

	pthread_rwlock_rdlock(&chunks->mark_lock);
	if (chunks->mark == set)
		watermark = first & CHUNK_BULK ? chunks->mark_bulk_end : chunks->mark_small_end;
	pthread_rwlock_unlock(&chunks->mark_lock);
	if (!watermark || (first ^ end) & CHUNK_BULK)
		return -EINVAL;
	sweep = xcalloc(1, sizeof(*sweep));
	*sweep = (struct sweep){.chunks = chunks, .set = set, .at = first, .end = MIN(end, watermark), .dry_run = dry_run};
	ret = sweep_all(sweep, stop, stop_arg);
	if (!ret) {
		*ret_chunks = sweep->chunks_removed;
		*ret_bytes = sweep->bytes_removed;
	}
	free(sweep);
	return ret;
}
