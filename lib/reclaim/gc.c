/*
 * The collector: prune (prune.c), then mark the chunks that extents refer to (mark.c), then sweep the others. What is left of chunks that are
 * named in part is copied (repack.c), and these are swept in another round.
 *
 * The rule: a chunk is removed only if no extent refers to it and none ever will. The proof is at the head of lib/chunk/sweep.c. It rests
 * on what lib/chunk does, and on these, which are kept here and by whoever writes extents:
 *
 *   GC1  One iterator, made after chunks_mark_begin(), walks all extents of all versions. It sees the database as of one moment T. Versions
 *        that wait to be pruned, or that no view sees, are extents as well: a rollback or a clone may bring them back into sight.
 *   GC2  inode_copy() makes an extent from another one; so does whatever cuts one in two or shortens it. From reading the one until its
 *        batch is written, the one stays in the database. The lock of its inode keeps others from overwriting it. Its view is in use, so
 *        pruning leaves what the view sees: a snapshot in use is not destroyed, and a head that was rolled back counts as living. Repacking
 *        waits (RP4).
 *   GC3  Who looks up extents and then reads their chunks counts as a reader meanwhile (lib/tree/records/readers.h). The sweep begins when
 *        all who were inside after T have left. Who came later has looked up extents as of T or newer, whose chunks stay. Readers are those of
 *        files, those who compare and hash content, backups and streams. Who does not count (warm, check) takes a missing chunk for no damage.
 *
 * An extent that is removed between T and the sweep keeps its chunk for one more round. A crash loses nothing: marking begins again, and a removal that
 * survives the crash comes after the removal of the extents in the log.
 */
#include "lib/reclaim/gc.h"

#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/reclaim/mark.h"
#include "lib/reclaim/prune.h"
#include "lib/reclaim/repack.h"
#include "lib/store/catalog_records.h"
#include "lib/store/gc_hold.h"
#include "lib/tree/content/tree.h"
#include "lib/tree/records/all_versions.h"
#include "lib/tree/records/dropped.h"
#include "lib/tree/records/readers.h"

/* What heads overwrite leaves no record: the collector is due when there are so many more chunks than after the last sweep, */
#define GROWTH_SHARE 4
#define GROWTH_MIN 10000
/* or when so much of what the chunks take was dropped. */
#define DROPPED_SHARE 4
#define DROPPED_MIN (32U << 20)
#define DROPPED_SHORT (1U << 20)

/* Repacking makes nothing that is to be repacked, but writers do meanwhile. */
#define ROUNDS_MAX 8

struct run {
	struct store *store;
	const struct gc_options *options;
	struct gc_progress progress;
	uint64_t moved; /* bytes that were repacked */
	int stopped; /* what progress answered in a sweep or in between two files */
};

static int tell(struct run *run)
{
	if (!run->options->progress)
		return 0;
	return run->options->progress(run->options->arg, &run->progress) ? -ECANCELED : 0;
}

static int start_phase(struct run *run, const char *phase, uint64_t total)
{
	run->progress.phase = phase;
	run->progress.done = 0;
	run->progress.total = total;
	return tell(run);
}

/* Where the disk has no room, less is worth it. */
static uint64_t dropped_enough(struct store *store)
{
	struct tree_usage usage;

	tree_usage(store->tree, &usage);
	return usage.free_bytes < DROPPED_MIN ? DROPPED_SHORT : MAX(chunks_disk_bytes(store->chunks) / DROPPED_SHARE, DROPPED_MIN);
}

bool gc_wanted(struct store *store)
{
	uint64_t kept = atomic_load(&store->kept_keys);

	return atomic_load(&store->sweep_due) || prune_wanted(store) ||
	       chunks_estimate(store->chunks) > kept + kept / GROWTH_SHARE + GROWTH_MIN || dropped_bytes(store->tree) > dropped_enough(store);
}

uint64_t gc_dropped_bytes(struct store *store)
{
	return dropped_bytes(store->tree);
}

/* --- prune --- */

static int prune_step(void *arg, uint64_t inodes, uint64_t versions)
{
	struct run *run = arg;

	run->progress.done += inodes;
	run->progress.versions += versions;
	return tell(run);
}

/* --- mark --- */

static int mark_step(void *arg, uint64_t versions)
{
	struct run *run = arg;

	run->progress.done = versions;
	return tell(run);
}

/* Gives the caller the parts, also on failure. */
static int mark(struct run *run, struct chunk_set *set, struct parts *parts, uint64_t *ret_versions)
{
	struct mark mark = {.store = run->store, .is_dry_run = run->options->dry_run, .set = set, .parts = parts, .step = mark_step, .arg = run};
	int result = start_phase(run, "mark", all_versions_estimate(run->store->tree));

	if (result == 0)
		result = mark_all(&mark);
	run->progress.versions += mark.unneeded;
	*ret_versions = mark.versions;
	return result;
}

/* --- sweep --- */

static bool stop_here(struct run *run, const char *point)
{
	if (run->stopped == 0)
		run->stopped = fault_point(point);
	if (run->stopped == 0)
		run->stopped = tell(run);
	return run->stopped != 0;
}

static bool stop_sweep(void *arg)
{
	return stop_here(arg, "gc-sweep");
}

static int sweep(struct run *run, struct chunk_set *set, uint64_t first, uint64_t end)
{
	uint64_t chunks, bytes;
	int result = chunks_sweep(run->store->chunks, set, first, end, stop_sweep, run, run->options->dry_run, &chunks, &bytes);

	if (result < 0)
		return result;
	run->progress.chunks += chunks;
	run->progress.bytes += bytes;
	run->progress.done++;
	return run->stopped;
}

/* --- compact --- */

static bool stop_compact(void *arg)
{
	struct run *run = arg;

	run->progress.done++;
	return stop_here(run, "gc-compact");
}

/* On a full disk the room of what is removed may have to wait for better times. Damaged tables are left as they are. */
static int passed_over(struct run *run, int result)
{
	run->progress.no_room |= result == -ENOSPC;
	return result == -ENOSPC || result == -EBADMSG ? 0 : result;
}

static int compact(struct run *run, const struct chunk_set *set, uint64_t versions)
{
	struct store *store = run->store;
	int result = start_phase(run, "compact", 0);

	if (result == 0)
		result = passed_over(run, kv_flush(store->kv));
	if (result == 0)
		result = passed_over(run, chunks_compact(store->chunks, set, stop_compact, run));
	if (result == 0)
		result = passed_over(run, all_versions_compact(store->tree, versions, stop_compact, run));
	if (result == 0)
		result = passed_over(run, catalog_compact(store->kv, stop_compact, run));
	return result < 0 ? result : run->stopped;
}

/* Called after a whole run: a run that was stopped is still due. Versions that are pruned meanwhile make the next run due. */
static int note_swept(struct run *run, uint64_t dropped)
{
	struct kv_batch *batch = kv_batch_new();

	atomic_store(&run->store->kept_keys, chunks_estimate(run->store->chunks));
	if (run->progress.no_room)
		atomic_store(&run->store->sweep_due, true);
	else
		dropped_take(run->store->tree, dropped);
	gc_state_put(run->store, batch);
	int result = kv_write(run->store->kv, batch, KV_GIVES_ROOM);
	kv_batch_free(batch);
	return result;
}

/* --- repack --- */

static int repack_step(void *arg, uint64_t bytes)
{
	struct run *run = arg;

	run->progress.done += bytes;
	return tell(run);
}

/* What is copied is taken off from what is given back: it stays, elsewhere. */
static int repack_worn(struct run *run, const struct parts *parts, uint64_t *ret_moved)
{
	uint64_t named, wasted;
	int result;

	parts_sum(parts, &named, &wasted);
	if (run->options->dry_run)
		run->progress.bytes += wasted;
	if (run->options->dry_run || wasted == 0)
		return 0;
	result = start_phase(run, "repack", named);
	if (result == 0)
		result = repack(run->store, parts, repack_step, run, ret_moved);
	run->moved += *ret_moved;
	return result;
}

/* --- one round --- */

struct round {
	struct chunk_set *set;
	uint64_t versions, moved;
};

static int wait_step(void *arg)
{
	return tell(arg);
}

static int mark_and_sweep(struct run *run, struct round *round)
{
	struct parts *parts;
	uint64_t bulk_end, small_end;
	int result;

	chunks_mark_begin(run->store->chunks, chunk_set_new, &round->set, &bulk_end, &small_end);
	parts = parts_new(bulk_end, small_end);
	result = mark(run, round->set, parts, &round->versions);
	if (result == 0)
		result = fault_point("gc-after-mark");
	if (result == 0 && !run->options->dry_run)
		result = readers_wait(run->store->tree, wait_step, run);
	if (result == 0)
		result = start_phase(run, "sweep", 2);
	if (result == 0)
		result = sweep(run, round->set, CHUNK_BULK, bulk_end);
	if (result == 0)
		result = sweep(run, round->set, 0, small_end);
	chunks_mark_end(run->store->chunks);
	if (result == 0)
		result = repack_worn(run, parts, &round->moved);
	parts_free(parts);
	return result;
}

/* The chunks from which anything was moved are swept in the next round. */
static int collect(struct run *run)
{
	struct round round = {0};
	uint64_t dropped = dropped_bytes(run->store->tree);
	bool was_due = atomic_load(&run->store->sweep_due);
	int result, rounds = 0;

	if (!run->options->dry_run)
		atomic_store(&run->store->sweep_due, false);
	do {
		chunk_set_free(round.set);
		round = (struct round){0};
		result = mark_and_sweep(run, &round);
	} while (result == 0 && round.moved > 0 && ++rounds < ROUNDS_MAX);
	if (result == 0 && !run->options->dry_run)
		result = compact(run, round.set, round.versions);
	chunk_set_free(round.set);
	if (result == 0 && !run->options->dry_run)
		result = note_swept(run, dropped);
	if (result < 0 && was_due)
		atomic_store(&run->store->sweep_due, true);
	run->progress.bytes -= MIN(run->progress.bytes, run->moved);
	return result;
}

/*
 * A hold (lib/store/gc_hold.h) is of chunks, and pruning goes on: it takes nothing that a view sees, whatever of the damage list is lost. And it must:
 * the hold ends only when nothing is damaged that an extent names, and what only destroyed views named goes by pruning. Nobody takes a hold while
 * a store is open, so none comes behind this look.
 */
static int check_hold(struct store *store, struct error *err)
{
	const int hold = gc_hold_get(store->kv);

	if (hold <= GC_FREE)
		return hold < 0 ? error_set(err, hold, "whether content may be removed cannot be read: %s", error_text(hold)) : 0;
	error_set(err, -EBUSY, "a repair has lost the list of damaged content, so no content is removed until a scrub has found all of it whole");
	error_hint(err, "corpusfs scrub, and corpusfs damage says what it found");
	return -EBUSY;
}

int gc_run(struct store *store, const struct gc_options *options, struct gc_progress *ret_result, struct error *err)
{
	struct run run = {.store = store, .options = options};
	int result = options->dry_run ? 0 : store_check_writable(store, err);

	if (result < 0)
		return result;
	if (atomic_exchange(&store->collecting, true))
		return error_set(err, -EBUSY, "garbage collection is running already");
	result = start_phase(&run, "prune", 0);
	if (result == 0 && !options->dry_run)
		result = prune_all(store, prune_step, &run);
	if (result == 0 && !options->prune_only)
		result = check_hold(store, err);
	if (result == 0 && !options->prune_only)
		result = collect(&run);
	if (result == 0)
		result = start_phase(&run, "done", 0);
	atomic_store(&store->collecting, false);
	if (result == -ECANCELED)
		return error_set(err, result, "garbage collection was stopped");
	if (result < 0)
		return error_default(err, result, "garbage collection failed: %s", error_text(result));
	*ret_result = run.progress;
	return 0;
}
