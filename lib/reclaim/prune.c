/*
 * Pruning removes the versions that only destroyed views saw.
 *
 * The rule. Of the versions under one key:
 *
 *   PR1  a value of epoch e is needed iff some living view sees it: e is in the view's line and no newer version of the key is.
 *   PR2  a tombstone of epoch e is needed iff some living view sees it, and would see a needed value without it.
 *
 * All versions of a key that are not needed go in one batch, so no reader meets a value whose tombstone went first. No living view notices:
 * a value goes only if no living view sees it. A tombstone that a view sees goes only together with all the values that it hid; what is left
 * below it is a tombstone or nothing.
 *
 * Where to look (I7). Epochs form a tree: a new one continues the line of its head (I3), of a snapshot (I4, I5). Each line is the path
 * from the root to its last epoch. All views of a family that wait for pruning are dealt with together: their records are made one. Let B be
 * these views, U the union of the lines of all others, those that live and those that are destroyed after B was chosen. For D in B, let a be
 * the last epoch of D in U, and W a living view that has a in its line, hence all of D's epochs up to a. Looked at are the inodes touched in
 *
 *   scan = for all D in B: (D \ U) + (W \ D)
 *
 * Claim: when B is done, every version v (key k, epoch e) that one of B saw, and no other view sees, was looked at. Let D in B see v. If e is
 * not in U: e is in D \ U, and writing v touched the inode. Else e <= a, so e is in W; W does not see v, so W has a newer version of k, of
 * epoch e' in W; D, which saw v, does not have e'; so e' is in W \ D, and writing that version touched the inode. For W we take the view
 * with the least W \ D, which is the next snapshot in the ordinary case: the cost is that of what changed between the two
 * (visibility_scan). Views that are destroyed while B is dealt with make the next B; what they saw as the last is found with them.
 *
 * A version v becomes garbage in one of two ways. The last view that saw it is destroyed: then v is found with that view. Or a head that saw it
 * overwrites it. Then the head deletes v at once, unless it shares v's epoch with others (SH1 in lib/store/snapshots.c). One of these may see
 * v. Or none does, since they have newer versions of their own, after clones and rollbacks: then v stays, although nobody sees it, until one
 * of them is destroyed and the touched inodes are looked at; at the latest with the last view that shares the epoch.
 *
 * A retired head that somebody still reads counts as living. Nothing happens when its last reader goes. So the view that keeps its state, and
 * has the same line, waits for that reader before it is dealt with (views_is_read), and what only the readers still saw is found with it.
 *
 * Meanwhile others go on. `scan` is chosen once and kept in the record; what becomes garbage later is found with the view whose destruction
 * made it so. Views that are made meanwhile see nothing that no living view sees (visibility.h). Looking takes no lock. Removal holds
 * change_lock, so that no view comes or goes, and freezes the family's heads: a writer holds its epoch lock from reading what it hides or
 * uncovers until its batch is written (version.h), so it sees all of a step or nothing of it. Under the locks it is asked again what is needed.
 * A step removes the versions of some hundred keys. One look at an inode finds all that B left there.
 *
 * The touched entries of an epoch are deleted when the epoch is in no living line and in no line of a 'P' record: nobody will compare it again.
 *
 * A family without living views is dropped as a whole: its ranges first and its records last, so that it is dropped again if this is
 * interrupted.
 */
#include "lib/reclaim/prune.h"

#include <errno.h>

#include "lib/base/fault.h"
#include "lib/reclaim/prune_digests.h"
#include "lib/reclaim/prune_inode.h"
#include "lib/tree/records/all_versions.h"
#include "lib/tree/records/touched.h"

#define FETCH_INODES 256
#define DELETE_BATCH 1024

/* --- which inodes --- */

struct fetched {
	struct touched_place places[FETCH_INODES];
	size_t count;
};

static int fetch(void *arg, struct touched_place place)
{
	struct fetched *fetched = arg;

	fetched->places[fetched->count++] = place;
	return fetched->count == FETCH_INODES;
}

/* The next touched entries of one interval, from the cursor on. */
static int fetch_touched(struct pruning *pruning, const struct interval *interval, struct fetched *fetched)
{
	const struct prune_record *record = &pruning->record;
	struct touched_place from = {.epoch = interval->first};
	int result;

	if (record->at_epoch >= interval->first)
		from = (struct touched_place){.epoch = record->at_epoch, .ino = record->at_ino};
	fetched->count = 0;
	result = touched_each(pruning->store->tree, record->family, from, interval->last, fetch, fetched);
	return MIN(result, 0);
}

/* Writes how far it got. After a crash the rest is done, and perhaps the last step once more. */
static int write_cursor(struct pruning *pruning, struct touched_place next)
{
	struct store *store = pruning->store;
	struct kv_batch *batch = kv_batch_new();

	pruning->record.at_epoch = next.epoch;
	pruning->record.at_ino = next.ino;
	catalog_put_prune(batch, pruning->view, &pruning->record);
	int result = kv_write(store->kv, batch, KV_GIVES_ROOM);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	struct prune *prune = catalog_prune(store, pruning->view);
	prune->record.at_epoch = next.epoch;
	prune->record.at_ino = next.ino;
	mutex_give(&store->catalog_lock);
	return 0;
}

static int scan_interval(struct pruning *pruning, const struct interval *interval)
{
	struct fetched fetched = {.count = FETCH_INODES};
	int result = 0;

	if (pruning->record.at_epoch > interval->last)
		return 0;
	while (result == 0 && fetched.count == FETCH_INODES) {
		visibility_refresh(pruning->visibility);
		result = fetch_touched(pruning, interval, &fetched);
		for (size_t i = 0; i < fetched.count && result == 0; i++)
			result = prune_inode(pruning, fetched.places[i].ino);
		if (result == 0 && fetched.count > 0) {
			const struct touched_place last = fetched.places[fetched.count - 1];
			result = write_cursor(pruning, (struct touched_place){.epoch = last.epoch, .ino = last.ino + 1});
		}
		if (result == 0)
			result = pruning->step(pruning->arg, fetched.count, 0);
	}
	return result;
}

/* --- which views --- */

struct joined {
	ARRAY_FIELDS(uint32_t);
};

/* The family's other views that wait, and whose state nobody reads any more. */
static void choose_waiting(const struct pruning *pruning, struct joined *joined)
{
	struct store *store = pruning->store;

	mutex_take(&store->catalog_lock);
	for (struct prune *prune = store->prunes; prune; prune = prune->hh.next)
		if (prune->view != pruning->view && prune->record.family == pruning->record.family && !views_is_read(store, prune->view))
			array_add(joined, prune->view);
	mutex_give(&store->catalog_lock);
}

static void join(struct pruning *pruning, uint32_t view)
{
	const struct prune *prune = catalog_prune(pruning->store, view);
	struct line scan = visibility_scan(pruning->visibility, &prune->record.line);

	line_unite(&pruning->record.line, &prune->record.line);
	line_unite(&pruning->record.scan, &scan);
	line_clear(&scan);
}

/* Joins those that were chosen into the record; the batch says so. */
static void join_waiting(struct pruning *pruning, const struct joined *joined, struct kv_batch *batch)
{
	struct store *store = pruning->store;

	mutex_take(&store->catalog_lock);
	join(pruning, pruning->view);
	for (size_t i = 0; i < joined->count; i++) {
		join(pruning, joined->items[i]);
		catalog_delete_prune(batch, joined->items[i]);
	}
	mutex_give(&store->catalog_lock);
	catalog_put_prune(batch, pruning->view, &pruning->record);
}

/* The same in memory, after the batch was written. */
static void note_joined(struct pruning *pruning, const struct joined *joined)
{
	struct store *store = pruning->store;

	mutex_take(&store->catalog_lock);
	for (size_t i = 0; i < joined->count; i++)
		catalog_remove_prune(store, catalog_prune(store, joined->items[i]));
	struct prune *prune = catalog_prune(store, pruning->view);
	prune_record_clear(&prune->record);
	prune->record = pruning->record;
	prune->record.line = line_copy(&pruning->record.line);
	prune->record.scan = line_copy(&pruning->record.scan);
	mutex_give(&store->catalog_lock);
}

/* Under change_lock, so that the choice is made for the views as they are. */
static int begin_locked(struct pruning *pruning)
{
	struct store *store = pruning->store;
	struct joined joined = {0};

	/* A retired head was counted as long as it was read. What only it shared, heads may remove from now on. */
	views_refresh_shared(store, pruning->record.family);
	if (pruning->record.scan.count > 0) {
		visibility_refresh(pruning->visibility);
		return 0;
	}
	/*
	 * First who waits, then who lives. The last reader of a retired head may go at any time. If he goes in between, the view that keeps
	 * the head's state waits for the next turn. The other way round it would be dealt with while the head counts as living: nothing
	 * would be looked at, and what only the head still saw would stay for ever.
	 */
	choose_waiting(pruning, &joined);
	visibility_refresh(pruning->visibility);
	int result = fault_point("prune-before-join");
	struct kv_batch *batch = kv_batch_new();
	join_waiting(pruning, &joined, batch);
	if (result == 0)
		result = kv_write(store->kv, batch, KV_GIVES_ROOM);
	kv_batch_free(batch);
	if (result == 0)
		note_joined(pruning, &joined);
	array_clear(&joined);
	return result;
}

static int begin(struct pruning *pruning)
{
	mutex_take(&pruning->store->change_lock);
	int result = begin_locked(pruning);
	mutex_give(&pruning->store->change_lock);
	return result;
}

/* --- when all is done --- */

/* Epochs of the record that neither a living view nor another record has. */
static struct line dead_epochs(struct pruning *pruning)
{
	struct store *store = pruning->store;
	struct line all = line_copy(&pruning->record.line);

	visibility_refresh(pruning->visibility);
	struct line kept = line_copy(visibility_epochs(pruning->visibility));
	line_unite(&all, &pruning->record.scan);
	mutex_take(&store->catalog_lock);
	for (struct prune *prune = store->prunes; prune; prune = prune->hh.next) {
		if (prune->view == pruning->view || prune->record.family != pruning->record.family)
			continue;
		line_unite(&kept, &prune->record.line);
		line_unite(&kept, &prune->record.scan);
	}
	mutex_give(&store->catalog_lock);
	struct line dead = line_minus(&all, &kept);
	line_clear(&all);
	line_clear(&kept);
	return dead;
}

static int delete_touched(struct pruning *pruning, const struct interval *interval)
{
	int result = 1;

	while (result > 0) {
		result = touched_delete_some(pruning->store->tree, pruning->record.family, interval, DELETE_BATCH);
		if (result >= 0) {
			int stop = pruning->step(pruning->arg, 0, 0);
			result = stop != 0 ? stop : result;
		}
	}
	return result;
}

/* No other destroyed view of the family waits: digests are looked through once for all of them. */
static bool is_last_of_family(const struct pruning *pruning)
{
	struct store *store = pruning->store;
	bool last = true;

	mutex_take(&store->catalog_lock);
	for (struct prune *prune = store->prunes; prune && last; prune = prune->hh.next)
		last = prune->view == pruning->view || prune->record.family != pruning->record.family;
	mutex_give(&store->catalog_lock);
	return last;
}

/* The 'P' record goes with the last step. What was pruned is written in the log before it. A sweep is due even if nothing was found: what
 * heads overwrote since the views were destroyed went at once. */
static int finish(struct pruning *pruning)
{
	struct store *store = pruning->store;
	struct line dead = dead_epochs(pruning);
	int result = 0;

	for (size_t i = 0; i < dead.count && result == 0; i++)
		result = delete_touched(pruning, &dead.items[i]);
	line_clear(&dead);
	if (result == 0 && is_last_of_family(pruning))
		result = digests_prune(store, pruning->record.family, pruning->step, pruning->arg);
	if (result < 0)
		return result;
	atomic_store(&store->sweep_due, true);
	struct kv_batch *batch = kv_batch_new();
	catalog_delete_prune(batch, pruning->view);
	gc_state_put(store, batch);
	result = kv_write(store->kv, batch, KV_GIVES_ROOM);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	catalog_remove_prune(store, catalog_prune(store, pruning->view));
	mutex_give(&store->catalog_lock);
	return 0;
}

/* Writes that the family is no more. */
static int forget_family(struct store *store, uint32_t family)
{
	struct kv_batch *batch = kv_batch_new();
	struct prune *prune, *next;

	atomic_store(&store->sweep_due, true);
	gc_state_put(store, batch);
	catalog_delete_family(batch, family);
	mutex_take(&store->change_lock);
	for (prune = store->prunes; prune; prune = prune->hh.next)
		if (prune->record.family == family)
			catalog_delete_prune(batch, prune->view);
	int result = catalog_write(store->kv, batch);
	if (result == 0) {
		mutex_take(&store->catalog_lock);
		HASH_ITER (hh, store->prunes, prune, next)
			if (prune->record.family == family)
				catalog_remove_prune(store, prune);
		mutex_give(&store->catalog_lock);
	}
	mutex_give(&store->change_lock);
	kv_batch_free(batch);
	return result;
}

/* The family has no view, and will have none: views are made from living ones. */
static int drop_family(struct pruning *pruning)
{
	struct store *store = pruning->store;
	int result = all_versions_drop_family(store->tree, pruning->record.family);

	if (result == 0)
		result = digests_prune(store, pruning->record.family, pruning->step, pruning->arg);
	if (result == 0)
		result = forget_family(store, pruning->record.family);
	return result < 0 ? result : pruning->step(pruning->arg, 0, 0);
}

/* --- one family after the other --- */

/* The next destroyed view whose state nobody reads any more; one that was begun comes first. */
static bool next_prune(struct store *store, struct pruning *pruning)
{
	struct prune *found = NULL;

	mutex_take(&store->catalog_lock);
	for (struct prune *prune = store->prunes; prune; prune = prune->hh.next) {
		if (views_is_read(store, prune->view))
			continue;
		if (!found || (found->record.scan.count == 0 && prune->record.scan.count > 0))
			found = prune;
	}
	if (found) {
		pruning->view = found->view;
		pruning->record = found->record;
		pruning->record.line = line_copy(&found->record.line);
		pruning->record.scan = line_copy(&found->record.scan);
	}
	mutex_give(&store->catalog_lock);
	return found != NULL;
}

static int prune_views(struct pruning *pruning)
{
	int result;

	pruning->visibility = visibility_new(pruning->store, pruning->record.family);
	if (visibility_epochs(pruning->visibility)->count == 0)
		return drop_family(pruning);
	result = begin(pruning);
	for (size_t i = 0; i < pruning->record.scan.count && result == 0; i++)
		result = scan_interval(pruning, &pruning->record.scan.items[i]);
	return result == 0 ? finish(pruning) : result;
}

int prune_all(struct store *store, int (*step)(void *arg, uint64_t inodes, uint64_t versions), void *arg)
{
	int result = 0;

	while (result == 0) {
		struct pruning pruning = {.store = store, .step = step, .arg = arg};
		if (!next_prune(store, &pruning))
			break;
		result = prune_views(&pruning);
		pruning_clear(&pruning);
	}
	return result;
}

bool prune_wanted(struct store *store)
{
	struct pruning pruning = {.store = store};
	bool wanted = next_prune(store, &pruning);

	pruning_clear(&pruning);
	return wanted;
}
