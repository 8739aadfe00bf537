#include "lib/verify/scrub.h"

#include <errno.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/base/idle_io.h"
#include "lib/store/catalog.h"
#include "lib/store/gc_hold.h"
#include "lib/tree/records/all_versions.h"
#include "lib/verify/lost_chunks.h"

#define SAVE_EVERY_MS 5000
#define WALK_STEP 4096
/* More missing chunks than this are told of as they are, and looked at by the next scrub. */
#define SUSPECTS_MAX (1U << 20)

struct run {
	struct store *store;
	const struct scrub_options *options;
	struct scrub_state state;
	struct scrub_progress progress;
	struct chunk_set *needed; /* by extents */
	struct chunk_set *every;  /* where not all_known: all ids, of which some may be needed though no extent that can be read names them */
	ARRAY(uint64_t) missing;
	uint64_t begun_ms, read_bytes, saved_ms;
	uint64_t damaged_tables;
	struct line lost; /* intervals of ids: what damaged tables of content may have lost */
	bool all_known; /* no damaged block of metadata hides what is needed */
};

/* --- going on and stopping --- */

static void save(struct run *run)
{
	run->saved_ms = clock_ms();
	if (!store_read_only(run->store)) {
		/* what is not remembered is looked at again */
		int ignored = scrub_state_put(run->store, &run->state);
		(void)ignored;
	}
}

static void keep_rate(struct run *run, uint64_t bytes)
{
	const uint64_t rate = run->options->rate;

	run->read_bytes += bytes;
	if (rate == 0)
		return;
	const uint64_t due_ms = run->begun_ms + run->read_bytes * 1000 / rate, now_ms = clock_ms();
	if (due_ms > now_ms)
		clock_pause_us(MIN(due_ms - now_ms, 1000U) * 1000);
}

static int tell(struct run *run)
{
	run->progress.counts = run->state.counts;
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

/* --- tables --- */

static int table_step(void *arg, uint64_t bytes)
{
	struct run *run = arg;

	run->state.counts.bytes += bytes;
	keep_rate(run, bytes);
	return tell(run);
}

static int count_table(void *arg, const struct kv_damaged_table *table)
{
	struct run *run = arg;

	run->damaged_tables++;
	lost_chunks_add(&run->lost, table);
	return 0;
}

static int scrub_tables(struct run *run)
{
	int result = start_phase(run, "tables", 0);

	if (result == 0)
		result = kv_each_damaged_table(store_kv(run->store), false, table_step, count_table, run);
	if (result == 0) {
		run->state.counts.damaged += run->damaged_tables;
		run->state.phase = SCRUB_SMALL;
		run->state.next = 0;
	}
	return result;
}

/* --- content --- */

/* The chunks that extents name. Not of one moment where the walk steps aside: what is missed then is looked at by the next scrub. */
static int find_needed(struct run *run, struct chunk_set **ret_set)
{
	struct all_versions *all;
	struct stored_version version;
	struct extent_record extent;
	struct chunk_set *set;
	uint64_t bulk_end, small_end;
	int result = start_phase(run, "references", all_versions_estimate(store_tree(run->store)));

	if (result < 0)
		return result;
	chunks_ends(store_chunks(run->store), &bulk_end, &small_end);
	set = chunk_set_new(bulk_end, small_end);
	all = all_versions_new(store_tree(run->store));
	while (result == 0 && (result = all_versions_next(all, &version)) > 0) {
		result = 0;
		if (version.parts.kind == KEY_EXTENT && version.len > 0 && extent_record_decode(version.value, version.len, &extent) == 0 &&
		    extent.chunk != CHUNK_NONE)
			chunk_set_add(set, extent.chunk);
		if (++run->progress.done % WALK_STEP == 0) {
			all_versions_make_way(all);
			result = tell(run);
		}
	}
	all_versions_free(all);
	/* behind a damaged block of metadata nobody knows what is needed */
	if (result < 0 && result != -EBADMSG) {
		chunk_set_free(set);
		return result;
	}
	run->all_known = result == 0;
	*ret_set = set;
	return 0;
}

static struct chunk_set *every_id(struct chunks *chunks)
{
	uint64_t bulk_end, small_end;
	struct chunk_set *set;

	chunks_ends(chunks, &bulk_end, &small_end);
	set = chunk_set_new(bulk_end, small_end);
	for (uint64_t id = 1; id < small_end; id++)
		chunk_set_add(set, id);
	for (uint64_t id = CHUNK_BULK | 1; id < bulk_end; id++)
		chunk_set_add(set, id);
	return set;
}

static int looked_at(void *arg, uint64_t id, uint64_t bytes, int result)
{
	struct run *run = arg;

	/* it was removed, as far as anybody can know */
	if (result == -ENOENT && run->every && !chunk_set_has(run->needed, id))
		return tell(run);
	if (result == -ENOENT && run->missing.count < SUSPECTS_MAX)
		array_add(&run->missing, id);
	else if (result < 0)
		run->state.counts.damaged++;
	run->state.counts.chunks++;
	run->state.counts.bytes += bytes;
	run->state.next = id + 1;
	run->progress.done++;
	keep_rate(run, bytes);
	if (clock_ms() - run->saved_ms >= SAVE_EVERY_MS && run->missing.count == 0)
		save(run);
	return tell(run);
}

/* Those that nothing needs by now were removed meanwhile. A look by the database puts the others into the list. */
static int confirm_missing(struct run *run)
{
	struct chunk_set *needed;
	uint64_t damaged = 0;
	int result = run->missing.count > 0 ? find_needed(run, &needed) : 0;

	if (result < 0 || run->missing.count == 0)
		return result;
	for (size_t i = 0; i < run->missing.count && result == 0; i++) {
		const uint64_t id = run->missing.items[i];
		const int state = chunk_set_has(needed, id) ? chunks_verify(store_chunks(run->store), id) : 0;
		damaged += chunk_is_damage(state);
		result = chunk_is_damage(state) ? 0 : state;
	}
	chunk_set_free(needed);
	if (result < 0)
		return result;
	run->state.counts.damaged += damaged;
	array_reset(&run->missing);
	return 0;
}

static int scrub_kind(struct run *run, uint64_t first, uint64_t end)
{
	int result = start_phase(run, "content", chunks_estimate(store_chunks(run->store)));

	run->progress.done = run->state.counts.chunks;
	if (result == 0)
		result = chunks_scrub(store_chunks(run->store), run->every ? run->every : run->needed, MAX(run->state.next, first), end, looked_at, run);
	/* also when it was stopped: the position lies behind them */
	int confirmed = confirm_missing(run);
	if (confirmed < 0 && run->missing.count > 0)
		run->state.next = run->missing.items[0];
	if (result == 0)
		result = confirmed;
	if (result == 0)
		run->state.next = end;
	return result;
}

static int scrub_content(struct run *run)
{
	uint64_t bulk_end, small_end;
	int result = find_needed(run, &run->needed);

	if (result == 0 && !run->all_known)
		run->every = every_id(store_chunks(run->store));
	chunks_ends(store_chunks(run->store), &bulk_end, &small_end);
	if (result == 0 && run->state.phase == SCRUB_SMALL) {
		result = scrub_kind(run, 1, small_end);
		if (result == 0) {
			run->state.phase = SCRUB_BULK;
			run->state.next = 0;
		}
	}
	/* The phase ends with the scrub: one that is stopped behind the last chunk goes on there. */
	return result == 0 ? scrub_kind(run, CHUNK_BULK | 1, bulk_end) : result;
}

/*
 * What was damaged once and is whole on the disk: it could not be read for a while, or a file was brought back. It is of use where what stands for
 * it is damaged in its turn.
 */
static int look_at_list_again(struct run *run)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	struct chunks *chunks = store_chunks(run->store);
	size_t count = chunks_list_damage(chunks, &list);
	int result = start_phase(run, "damage list", count);

	for (size_t i = 0; i < count && result == 0; i++) {
		if (chunks_known_damaged(chunks, list[i].chunk) && chunks_verify_disk(chunks, list[i].chunk) == 0 && !store_read_only(run->store))
			result = chunks_found_whole(chunks, list[i].chunk);
		run->progress.done++;
		if (result == 0)
			result = tell(run);
	}
	return result;
}

/* Something that is needed is damaged, and nothing stands for it. */
static bool is_hurt(struct run *run)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	size_t count = chunks_list_damage(store_chunks(run->store), &list);

	for (size_t i = 0; i < count; i++)
		if (chunk_set_has(run->needed, list[i].chunk) && chunks_known_damaged(store_chunks(run->store), list[i].chunk))
			return true;
	return false;
}

static int let_collect(struct run *run)
{
	struct kv *kv = store_kv(run->store);
	const int hold = gc_hold_get(kv);

	if (hold != GC_HELD_SCRUBBED || !run->all_known || store_read_only(run->store) || is_hurt(run))
		return MIN(hold, 0);
	return gc_hold_set(kv, GC_FREE);
}

static int looked_at_lost(void *arg, uint64_t id, uint64_t bytes, int result)
{
	struct run *run = arg;

	(void)id;
	run->state.counts.damaged += result < 0 && result != -ENOENT;
	return table_step(run, bytes);
}

/* What was seen whole before, by a scrub that was stopped perhaps, may have rotted since. */
static int look_at_lost(struct run *run)
{
	uint64_t bulk_end, small_end;
	int result = 0;

	chunks_ends(store_chunks(run->store), &bulk_end, &small_end);
	for (size_t i = 0; i < run->lost.count && result == 0; i++) {
		const struct interval *lost = &run->lost.items[i];
		const uint64_t end = lost->first & CHUNK_BULK ? bulk_end : small_end;
		result = chunks_scrub(store_chunks(run->store), run->needed, lost->first, lost->last < end ? lost->last + 1 : end, looked_at_lost, run);
	}
	return result;
}

/* Nothing that is needed is damaged any more. What nothing needs may be: healed content still lies where it rotted. */
static int tell_database(struct run *run)
{
	struct kv *kv = store_kv(run->store);
	int result;

	if (run->state.counts.damaged > 0 || kv_damaged(kv) == KV_SOUND)
		return 0;
	kv_tables_look(kv);
	result = kv_each_damaged_table(kv, true, table_step, count_table, run);
	if (result == 0)
		result = look_at_lost(run);
	if (result == 0 && run->state.counts.damaged == 0)
		kv_tables_seen(kv);
	return result;
}

static int end(struct run *run)
{
	int result = look_at_list_again(run);

	if (result == 0)
		result = let_collect(run);
	if (result == 0)
		result = tell_database(run);
	if (result == 0)
		result = start_phase(run, "done", 0);
	if (result < 0)
		return result;
	run->state.phase = SCRUB_IDLE;
	run->state.next = 0;
	run->state.last = run->state.counts;
	run->state.last_end = clock_now().tv_sec;
	return 0;
}

static int begin(struct run *run)
{
	const int hold = gc_hold_get(store_kv(run->store));
	int result = hold < 0 ? hold : scrub_state_get(run->store, &run->state);

	if (result < 0)
		return result;
	run->begun_ms = run->saved_ms = clock_ms();
	if (run->state.phase != SCRUB_IDLE && !run->options->restart && hold != GC_HELD)
		return 0;
	run->state.phase = SCRUB_TABLES;
	run->state.next = 0;
	run->state.begun = clock_now().tv_sec;
	run->state.counts = (struct scrub_counts){0};
	if (hold != GC_HELD || store_read_only(run->store))
		return 0;
	/* in this order: what it counts as seen was seen after the repair */
	result = scrub_state_put(run->store, &run->state);
	return result < 0 ? result : gc_hold_set(store_kv(run->store), GC_HELD_SCRUBBED);
}

static int run_phases(struct run *run)
{
	int result = begin(run);

	if (result < 0)
		return result;
	if (run->state.phase == SCRUB_TABLES)
		result = scrub_tables(run);
	if (result == 0)
		result = scrub_content(run);
	if (result == 0)
		result = end(run);
	save(run);
	return result;
}

int scrub_run(struct store *store, const struct scrub_options *options, struct scrub_counts *ret_counts, struct error *err)
{
	struct run run = {.store = store, .options = options};
	struct idle_io idle;
	int result;

	if (atomic_exchange(&store->scrubbing, true))
		return error_set(err, -EBUSY, "a scrub is running already");
	idle_io_begin(&idle);
	result = run_phases(&run);
	idle_io_end(&idle);
	array_clear(&run.missing);
	line_clear(&run.lost);
	chunk_set_free(run.needed);
	chunk_set_free(run.every);
	atomic_store(&store->scrubbing, false);
	if (result == -ECANCELED)
		return error_set(err, result, "the scrub was stopped; the next one goes on from here");
	if (result < 0)
		return error_set(err, result, "the scrub failed: %s", error_text(result));
	*ret_counts = run.state.counts;
	return 0;
}

/* --- by the clock --- */

int scrub_set_schedule(struct store *store, uint64_t every_seconds, struct error *err)
{
	struct scrub_state state;
	int result = store_check_writable(store, err);

	if (result < 0)
		return result;
	/* one that runs would write its own idea of the schedule later */
	if (atomic_exchange(&store->scrubbing, true))
		return error_set(err, -EBUSY, "a scrub is running; stop it first");
	result = scrub_state_get(store, &state);
	if (result == 0) {
		state.every = every_seconds;
		result = scrub_state_put(store, &state);
	}
	atomic_store(&store->scrubbing, false);
	return result < 0 ? error_set(err, result, "the schedule cannot be kept: %s", error_text(result)) : 0;
}

bool scrub_due(struct store *store, int64_t now)
{
	struct scrub_state state;

	if (store_read_only(store) || scrub_state_get(store, &state) < 0 || state.every == 0)
		return false;
	/* a clock that was far ahead then is no reason to wait until it is so late */
	return state.phase != SCRUB_IDLE || now < state.last_end || now - state.last_end >= (int64_t)state.every;
}
