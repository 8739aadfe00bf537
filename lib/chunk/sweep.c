/*
 * The collector's half of the chunk store: it marks the chunks that are needed and removes the others.
 *
 * The rule: a chunk is removed only if no extent refers to it and none ever will. The caller does, in this order,
 *
 *   chunks_mark_begin -> walk all extents into the set -> chunks_sweep -> chunks_mark_end
 *
 * and keeps GC1 and GC2 (lib/reclaim/gc.c): the walk sees all extents of one moment T after chunks_mark_begin(), and whoever makes an
 * extent from another one keeps that one in the database until its own is written. This file and intake.c keep these two:
 *
 * S1  A group holds mark_lock shared while it takes new ids and while it takes hits in the dedup index; when it lets go, its ids are in
 *     group->items and count as settled. chunks_mark_begin() holds mark_lock exclusively, so it finds every id that a group got before.
 * S2  A group lives until the batch with its extents was written or given up (chunks.h).
 *
 * Claim: if the sweep removes a chunk X, no extent refers to X after that. Suppose an extent does. X lies below the watermark, and X was
 * not in the set when the sweep tested it. So no extent of X was there at T: the walk would have added X. Let E be the first extent of X
 * that was written after T. Where did its writer get X?
 *
 *   - From its group, before the mark began. The group lived at that time, or else it had written E before T (S2). chunks_mark_begin()
 *     added X to the set (S1).
 *   - From its group, as a new id after the mark began. Then X is not below the watermark.
 *   - From its group, by a hit after the mark began. Then the group added X to the set, under mark_lock shared. The sweep tests X under
 *     mark_lock exclusively. If the hit came first, the test found X in the set. If the test came first, the batch that removed X had
 *     also removed the entry of the index, under the same hold. No entry for X can come later: only the group that made X writes one, and
 *     that group has ended, or it lived when the mark began and X is in the set.
 *   - From another extent E0 of X: inode_copy() shares one, an overwrite cuts one in two. Then E0 was in the database until E was
 *     written (GC2). E0 was not there at T, so it was written after T and before E; but E was the first of those.
 *
 * Each case contradicts what was supposed.
 *
 * A crash takes the end of the log and never its middle. A removal comes after the removal of the extents that made the chunk dead, so
 * it survives only if they do. backend_drop_run() syncs the log, because files are dropped at once.
 *
 * A chunk Y that stands for a damaged one X (damaged.h) is needed when X is: after the walk it is added to the set (need_replacements). What
 * comes to stand for X later is a new chunk of a group, which is kept as above, or one that is there (twin.c): it is taken as a hit is,
 * and before mark_lock is let go the list has it.
 *
 * The entry of a damaged chunk in the index may stay and name nothing: whoever finds it asks the database whether what it names is still there
 * (hits.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunks_group.h"
#include "lib/chunk/dedup.h"
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
	uint64_t run_first, run_last, run_count; /* removed ones in a row: between them no chunk lives or was kept */
	uint64_t chunks_removed, bytes_removed;
};

void chunks_mark_begin(struct chunks *chunks, struct chunk_set *(*make)(uint64_t bulk_end, uint64_t small_end),
                       struct chunk_set **ret_set, uint64_t *ret_bulk_end, uint64_t *ret_small_end)
{
	rwlock_write(&chunks->mark_lock);
	chunks->mark_bulk_end = ids_next(chunks->ids, true);
	chunks->mark_small_end = ids_next(chunks->ids, false);
	chunks->mark = make(chunks->mark_bulk_end, chunks->mark_small_end);
	mutex_take(&chunks->groups_lock);
	for (const struct chunks_group *group = chunks->groups; group; group = group->next)
		chunks_group_mark(group, chunks->mark);
	mutex_give(&chunks->groups_lock);
	*ret_set = chunks->mark;
	*ret_bulk_end = chunks->mark_bulk_end;
	*ret_small_end = chunks->mark_small_end;
	rwlock_give(&chunks->mark_lock);
}

void chunks_mark_end(struct chunks *chunks)
{
	rwlock_write(&chunks->mark_lock);
	chunks->mark = NULL;
	rwlock_give(&chunks->mark_lock);
}

/*
 * Everything from the first to the last one goes, also what lay in a damaged block and was passed unseen. Such a one may have been hit since, when
 * it could be read again. So the set is asked once more, under the lock.
 */
static int drop_run(struct sweep *sweep)
{
	const uint64_t first = sweep->run_first, end = sweep->run_last + 1, count = sweep->run_count;
	int ret = 0;

	sweep->run_count = 0;
	if (count < DROP_MIN)
		return 0;
	rwlock_write(&sweep->chunks->mark_lock);
	if (chunk_set_next_member(sweep->set, first, end) == end)
		ret = backend_drop_run(sweep->chunks->backend, first, sweep->run_last);
	rwlock_give(&sweep->chunks->mark_lock);
	return ret;
}

static void take_dead(struct sweep *sweep, uint64_t id, const struct backend_scan *scan)
{
	struct dead *dead = &sweep->dead[sweep->count++];
	struct chunk_header header;
	size_t len;
	const uint8_t *record = backend_scan_record(scan, &len);

	*dead = (struct dead){.id = id, .bytes = len};
	dead->sound = !chunk_record_open(id, record, len, &header);
	if (dead->sound)
		memcpy(dead->sha256, header.sha256, DIGEST_LEN);
}

/*
 * Finds the next dead chunks from sweep->at on, without reading a living one. Each batch takes a scan of its own, since a scan keeps
 * dropped files on the disk. A damaged block does not say whose it is. It is passed in growing steps: what is dead and not met stays.
 */
static int collect(struct sweep *sweep)
{
	struct backend_scan *scan = backend_scan_new(sweep->chunks->backend, sweep->at, sweep->end);
	uint64_t skip = 1;
	int ret = 0;

	sweep->count = 0;
	while (sweep->count < SWEEP_BATCH) {
		uint64_t wanted = chunk_set_next_absent(sweep->set, sweep->at, sweep->end), found;

		sweep->at = wanted;
		if (wanted >= sweep->end)
			break;
		ret = backend_scan_seek(scan, wanted, &found);
		if (ret == -EBADMSG) {
			sweep->at = wanted + skip;
			skip *= 2;
			continue;
		}
		if (ret == -ENOENT)
			sweep->at = sweep->end;
		if (ret)
			break;
		if (!chunk_set_has(sweep->set, found))
			take_dead(sweep, found, scan);
		sweep->at = found + 1;
		skip = 1;
	}
	backend_scan_free(scan);
	return ret == -ENOENT || ret == -EBADMSG ? 0 : ret;
}

/* mark_lock is held exclusively. */
static int remove_under_lock(struct sweep *sweep, struct kv_batch *batch)
{
	for (size_t i = 0; i < sweep->count; i++) {
		struct dead *dead = &sweep->dead[i];
		uint64_t named;
		uint32_t length;
		int ret;

		if (chunk_set_has(sweep->set, dead->id))
			continue;
		dead->removed = true;
		if (sweep->dry_run)
			continue;
		/* two groups may have stored the same bytes at once: the entry names one of the two chunks */
		ret = dead->sound ? dedup_get(sweep->chunks->kv, dead->sha256, &named, &length) : -ENOENT;
		if (ret && ret != -ENOENT)
			return ret;
		if (!ret && named == dead->id)
			dedup_delete(batch, dead->sha256);
		backend_drop(sweep->chunks->backend, batch, dead->id);
	}
	return kv_batch_count(batch) ? kv_write(sweep->chunks->kv, batch, KV_GIVES_ROOM) : 0;
}

static int remove_dead(struct sweep *sweep)
{
	struct kv_batch *batch = kv_batch_new();
	int ret;

	rwlock_write(&sweep->chunks->mark_lock);
	ret = remove_under_lock(sweep, batch);
	rwlock_give(&sweep->chunks->mark_lock);
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

/* What is read instead of a needed chunk is needed. */
static void need_replacements(struct chunk_set *set, const struct chunk_damage *list, size_t count)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			const struct chunk_damage *damage = &list[i];

			if (damage->replacement == CHUNK_NONE || !chunk_set_has(set, damage->chunk) || chunk_set_has(set, damage->replacement))
				continue;
			chunk_set_add(set, damage->replacement);
			more = true;
		}
	}
}

/* Damaged chunks that nothing needs leave the list. They are removed unseen: they may lie where nothing can be read. */
static int forget_damaged(struct chunks *chunks, struct chunk_set *set, bool dry_run)
{
	struct kv_batch *batch = kv_batch_new();
	AUTO_FREE struct chunk_damage *list = NULL;
	AUTO_FREE uint64_t *gone = NULL;
	size_t count, gone_count = 0;
	int ret = 0;

	rwlock_write(&chunks->mark_lock);
	count = chunks_list_damage(chunks, &list);
	for (size_t i = 0; i < count && !ret; i++)
		ret = list[i].error;
	need_replacements(set, list, count);
	gone = xcalloc(count + 1, sizeof(*gone));
	for (size_t i = 0; i < count && !dry_run && !ret; i++) {
		if (chunk_set_has(set, list[i].chunk))
			continue;
		gone[gone_count++] = list[i].chunk;
		backend_drop(chunks->backend, batch, list[i].chunk);
	}
	if (!ret && gone_count)
		ret = damaged_forget(chunks->damaged, batch, KV_GIVES_ROOM, gone, gone_count);
	rwlock_give(&chunks->mark_lock);
	kv_batch_free(batch);
	return ret;
}

int chunks_sweep(struct chunks *chunks, struct chunk_set *set, uint64_t first, uint64_t end, bool (*stop)(void *arg),
                 void *stop_arg, bool dry_run, uint64_t *ret_chunks, uint64_t *ret_bytes)
{
	struct sweep *sweep;
	uint64_t watermark = 0;
	int ret;

	rwlock_read(&chunks->mark_lock);
	if (chunks->mark == set)
		watermark = first & CHUNK_BULK ? chunks->mark_bulk_end : chunks->mark_small_end;
	rwlock_give(&chunks->mark_lock);
	if (!watermark || (first ^ end) & CHUNK_BULK)
		return -EINVAL;
	ret = forget_damaged(chunks, set, dry_run);
	if (ret)
		return ret;
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
