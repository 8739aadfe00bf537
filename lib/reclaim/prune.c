/*
 * Pruning: what only a destroyed view saw goes.
 *
 * The rule. Of the versions under one key, and with the living views' lines L:
 *
 *   PR1  a value of epoch e is needed iff some living view sees it: e is in its line and no newer version of the key is.
 *   PR2  a tombstone of epoch e is needed iff some living view sees it, and would see a needed value without it.
 *
 * All that is not needed under a key goes in one batch, so no reader meets a value whose tombstone went first. Removing it changes what
 * no living view sees: a value goes only if no living view sees it; a tombstone that a view sees goes only together with the values it
 * hid from all, while what is left below it is a tombstone or nothing.
 *
 * Where to look (I7). Epochs form a tree: a new one continues the line of its head (I3), of a snapshot (I4, I5). Each line is the path
 * from the root to its last epoch. Let D be the destroyed view that is dealt with, U the union of the lines of all others that live or
 * wait for pruning, a the last epoch of D in U, and W one of those views that has a in its line, hence all of D's epochs up to a. Looked
 * at are the inodes touched in
 *
 *   scan = (D \ U) + (W \ D)
 *
 * Claim: once nothing waits, every version v (key k, epoch e) that a destroyed view saw and no living view sees was looked at. Let D be
 * the last dealt with of those that saw v. If e is not in U: e is in D \ U, and writing v touched the inode. Else e <= a, so e is in W;
 * W does not see v (it lives, or comes later than D), so W has a newer version of k, of epoch e' in W; D, which saw v, does not have e';
 * so e' is in W \ D, and writing that version touched the inode. For W we take the view with the least W \ D, which is the next snapshot
 * in the ordinary case: the cost is that of what changed between the two. A view whose scan was chosen is finished before the next scan
 * is chosen, so "later" is well defined.
 *
 * Who saw v last before it became garbage was destroyed (then it is found with that view), or overwrote it. A head that overwrites deletes
 * at once, unless the epoch is in a shared line. Then either another view sees v, or, after clones and rollbacks, a view that shares the
 * epoch but has a newer version of its own: that version stays, unseen, until one of those views is destroyed and touched inodes are
 * looked at; at the latest with the last that shares the epoch.
 *
 * A retired head that somebody still reads counts as living. Nobody deals with it when its last reader is gone, so the view that keeps its
 * state, which has the same line, is not dealt with before that (next_prune): what the readers saw as the last is found with it.
 *
 * At the same time others go on. `scan` is chosen once and kept in the record: what becomes garbage later is found with the view whose
 * destruction made it so. Views made meanwhile see nothing that no living view sees (visibility.h). Looking is done without locks; removal
 * with change_lock, so that views neither come nor go, and with the family's heads paused: a writer reads what it hides or uncovers and
 * writes its batch under its epoch lock (version.h), so it sees all of a step or nothing of it. Under the locks each key is judged anew.
 * A step removes at most STEP_KEYS keys' versions.
 *
 * Touched entries of an epoch are deleted when the epoch is in no living line and in no 'P' record's lines: nobody will compare it again.
 *
 * A family without living views is dropped as a whole: ranges, and the records last, so that it is done again if it was interrupted.
 */
#include "lib/reclaim/prune.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "lib/base/array.h"
#include "lib/base/fault.h"
#include "lib/reclaim/prune_digests.h"
#include "lib/reclaim/visibility.h"
#include "lib/tree/freeze/freeze.h"
#include "lib/tree/records/all_versions.h"
#include "lib/tree/records/touched.h"

#define STEP_KEYS 256
#define FETCH_INODES 256
#define DELETE_BATCH 1024

struct pruning {
	struct store *store;
	uint32_t view;
	struct prune_record record; /* a copy; the one in the catalog follows with every written cursor */
	struct visibility *visibility;        /* for looking */
	int (*step)(void *arg, uint64_t inodes, uint64_t versions);
	void *arg;
};

/* --- looking and removing --- */

/* The versions of the record at hand, the newest first. */
struct versions {
	ARRAY_FIELDS(struct seen_version);
	struct tree_key stem;
};

static bool has_garbage(const struct visibility *visibility, struct versions *versions)
{
	if (versions->count == 0)
		return false;
	visibility_versions(visibility, versions->items, versions->count);
	for (size_t i = 0; i < versions->count; i++)
		if (!versions->items[i].needed)
			return true;
	return false;
}

/* Finds the next records with garbage in [*from, end), at most STEP_KEYS; moves *from on. */
static int look(const struct pruning *pruning, struct tree_key *from, const struct tree_key *end, struct tree_key *stems,
		size_t *ret_count)
{
	struct all_versions *all = all_versions_between(pruning->store->tree, from, end);
	struct stored_version version;
	struct versions versions = {0};
	size_t count = 0;
	int result;

	*from = *end;
	while ((result = all_versions_next(all, &version)) > 0) {
		if (version.is_newest) {
			if (has_garbage(pruning->visibility, &versions))
				stems[count++] = versions.stem;
			array_reset(&versions);
			versions.stem = *version.stem;
		}
		if (count == STEP_KEYS) {
			*from = tree_key_at(versions.stem, UINT64_MAX);
			break;
		}
		array_add(&versions, (struct seen_version){.epoch = version.parts.epoch, .tombstone = version.len == 0});
	}
	if (result == 0 && has_garbage(pruning->visibility, &versions))
		stems[count++] = versions.stem;
	all_versions_free(all);
	array_clear(&versions);
	*ret_count = count;
	return MIN(result, 0);
}

static int remove_key(struct store *store, const struct visibility *visibility, const struct tree_key *stem, struct versions *versions,
		      struct kv_batch *batch)
{
	struct tree_key first = tree_key_at(*stem, UINT64_MAX), end = tree_prefix_end(*stem);
	struct all_versions *all = all_versions_between(store->tree, &first, &end);
	struct stored_version version;
	int result;

	array_reset(versions);
	while ((result = all_versions_next(all, &version)) > 0)
		array_add(versions, (struct seen_version){.epoch = version.parts.epoch, .tombstone = version.len == 0});
	all_versions_free(all);
	if (result < 0)
		return result;
	(void)has_garbage(visibility, versions);
	for (size_t i = 0; i < versions->count; i++)
		if (!versions->items[i].needed)
			all_versions_remove(batch, stem, versions->items[i].epoch);
	return 0;
}

/* Caller holds change_lock and has paused the family's heads. */
static int remove_paused(struct store *store, uint32_t family, const struct tree_key *stems, size_t count, uint64_t *ret_removed)
{
	struct visibility *visibility = visibility_new(store, family);
	struct kv_batch *batch = kv_batch_new();
	struct versions versions = {0};
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++)
		result = remove_key(store, visibility, &stems[i], &versions, batch);
	if (result == 0)
		result = kv_write(store->kv, batch, 0);
	if (result == 0)
		*ret_removed = kv_batch_count(batch);
	array_clear(&versions);
	kv_batch_free(batch);
	visibility_free(visibility);
	return result;
}

static int remove_garbage(struct pruning *pruning, const struct tree_key *stems, size_t count)
{
	struct store *store = pruning->store;
	struct view_set heads;
	struct freeze *freeze;
	uint64_t removed = 0;

	mutex_take(&store->change_lock);
	int result = views_get_heads(store, pruning->record.family, &heads);
	if (result == 0) {
		result = freeze_begin_uncommitted(heads.items, heads.count, &freeze);
		if (result == 0) {
			result = remove_paused(store, pruning->record.family, stems, count, &removed);
			freeze_end(freeze);
		}
		views_put_heads(store, &heads);
	}
	mutex_give(&store->change_lock);
	if (result == 0)
		result = fault_point("prune-batch");
	return result < 0 ? result : pruning->step(pruning->arg, 0, removed);
}

static int prune_inode(struct pruning *pruning, uint64_t ino)
{
	struct tree_key from = tree_prefix_inode(pruning->record.family, ino), end = tree_prefix_end(from);
	AUTO_FREE struct tree_key *stems = xcalloc(STEP_KEYS, sizeof(*stems));
	int result = 0;

	while (result == 0 && (from.len != end.len || memcmp(from.bytes, end.bytes, end.len) != 0)) {
		size_t count;
		result = look(pruning, &from, &end, stems, &count);
		if (result == 0 && count > 0)
			result = remove_garbage(pruning, stems, count);
	}
	return result;
}

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

/* Writes how far we are: after a crash the rest is done, and what the last step did perhaps again. */
static int write_cursor(struct pruning *pruning, uint64_t epoch, uint64_t ino)
{
	struct kv_batch *batch = kv_batch_new();
	struct prune *prune;

	pruning->record.at_epoch = epoch;
	pruning->record.at_ino = ino;
	catalog_put_prune(batch, pruning->view, &pruning->record);
	int result = kv_write(pruning->store->kv, batch, 0);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	mutex_take(&pruning->store->catalog_lock);
	LL_SEARCH_SCALAR(pruning->store->prunes, prune, view, pruning->view);
	prune->record.at_epoch = epoch;
	prune->record.at_ino = ino;
	mutex_give(&pruning->store->catalog_lock);
	return 0;
}

static int scan_interval(struct pruning *pruning, const struct interval *interval)
{
	struct fetched fetched = {.count = FETCH_INODES};
	int result = 0;

	if (pruning->record.at_epoch > interval->last)
		return 0;
	while (result == 0 && fetched.count == FETCH_INODES) {
		visibility_free(pruning->visibility);
		pruning->visibility = visibility_new(pruning->store, pruning->record.family);
		result = fetch_touched(pruning, interval, &fetched);
		for (size_t i = 0; i < fetched.count && result == 0; i++)
			result = prune_inode(pruning, fetched.places[i].ino);
		if (result == 0 && fetched.count > 0) {
			const struct touched_place *last = &fetched.places[fetched.count - 1];
			result = write_cursor(pruning, last->epoch, last->ino + 1);
		}
		if (result == 0)
			result = pruning->step(pruning->arg, fetched.count, 0);
	}
	return result;
}

static uint64_t line_size(const struct line *line)
{
	uint64_t size = 0;

	for (uint32_t i = 0; i < line->count; i++)
		size += line->items[i].last - line->items[i].first + 1;
	return size;
}

/* See the top; the visibility knows all views of U. */
static struct line choose_scan(const struct visibility *visibility, const struct line *destroyed)
{
	struct line scan = line_minus(destroyed, &visibility->all);
	struct line common = line_minus(destroyed, &scan);
	struct line least = {0};
	bool found = false;

	if (common.count > 0) {
		uint64_t last = common.items[common.count - 1].last;
		for (size_t i = 0; i < visibility->count; i++) {
			if (!line_has(&visibility->lines[i], last))
				continue;
			struct line beyond = line_minus(&visibility->lines[i], destroyed);
			if (!found || line_size(&beyond) < line_size(&least)) {
				line_clear(&least);
				least = beyond;
				found = true;
			} else {
				line_clear(&beyond);
			}
		}
	}
	line_unite(&scan, &least);
	line_clear(&least);
	line_clear(&common);
	return scan;
}

/* Under change_lock, so that the choice is made for the views as they are. */
static int begin(struct pruning *pruning)
{
	struct store *store = pruning->store;
	struct prune *prune;
	int result = 0;

	mutex_take(&store->change_lock);
	/* A retired head that was read until now was counted; what it shared alone, heads may remove from now on. */
	views_refresh_shared(store, pruning->record.family);
	struct visibility *visibility = visibility_new(store, pruning->record.family);
	if (pruning->record.scan.count == 0) {
		mutex_take(&store->catalog_lock);
		LL_FOREACH(store->prunes, prune)
			if (prune->view != pruning->view && prune->record.family == pruning->record.family)
				visibility_add(visibility, &prune->record.line);
		mutex_give(&store->catalog_lock);
		pruning->record.scan = choose_scan(visibility, &pruning->record.line);
		result = write_cursor(pruning, 0, 0);
		mutex_take(&store->catalog_lock);
		LL_SEARCH_SCALAR(store->prunes, prune, view, pruning->view);
		line_clear(&prune->record.scan);
		prune->record.scan = line_copy(&pruning->record.scan);
		mutex_give(&store->catalog_lock);
	}
	mutex_give(&store->change_lock);
	visibility_free(visibility);
	return result;
}

/* --- when all is done --- */

/* Epochs of the record that neither a living view nor another record has. */
static struct line dead_epochs(struct pruning *pruning)
{
	struct store *store = pruning->store;
	struct line all = line_copy(&pruning->record.line);
	struct prune *prune;

	line_unite(&all, &pruning->record.scan);
	mutex_take(&store->catalog_lock);
	struct line kept = catalog_lines(store, pruning->record.family, 0);
	LL_FOREACH(store->prunes, prune) {
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
	struct prune *prune;
	bool last = true;

	mutex_take(&store->catalog_lock);
	LL_FOREACH(store->prunes, prune)
		last = last && (prune->view == pruning->view || prune->record.family != pruning->record.family);
	mutex_give(&store->catalog_lock);
	return last;
}

/* The 'P' record goes with the last step. What was pruned is written in the log before it. A sweep is due even if nothing was found: what
 * heads overwrote since the view was destroyed went at once. */
static int finish(struct pruning *pruning)
{
	struct store *store = pruning->store;
	struct line dead = dead_epochs(pruning);
	int result = 0;

	for (uint32_t i = 0; i < dead.count && result == 0; i++)
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
	result = kv_write(store->kv, batch, 0);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	catalog_remove_prune(store, pruning->view);
	mutex_give(&store->catalog_lock);
	return 0;
}

/* No view of the family is left, and none can be made: views are made from living ones. */
static int drop_family(struct pruning *pruning)
{
	struct store *store = pruning->store;
	uint32_t family = pruning->record.family;
	struct kv_batch *batch = kv_batch_new();
	struct prune *prune, *next;
	int result = all_versions_drop_family(store->tree, family);

	if (result == 0)
		result = digests_prune(store, family, pruning->step, pruning->arg);
	atomic_store(&store->sweep_due, true);
	gc_state_put(store, batch);
	catalog_delete_family(batch, family);
	mutex_take(&store->change_lock);
	LL_FOREACH(store->prunes, prune)
		if (prune->record.family == family)
			catalog_delete_prune(batch, prune->view);
	if (result == 0)
		result = catalog_write(store->kv, batch);
	if (result == 0) {
		mutex_take(&store->catalog_lock);
		LL_FOREACH_SAFE(store->prunes, prune, next)
			if (prune->record.family == family)
				catalog_remove_prune(store, prune->view);
		mutex_give(&store->catalog_lock);
	}
	mutex_give(&store->change_lock);
	kv_batch_free(batch);
	return result < 0 ? result : pruning->step(pruning->arg, 0, 0);
}

/* --- one after the other --- */

/* The next destroyed view whose state nobody reads any more; those begun come first. */
static bool next_prune(struct store *store, struct pruning *pruning)
{
	struct prune *prune, *found = NULL;

	mutex_take(&store->catalog_lock);
	LL_FOREACH(store->prunes, prune) {
		if (!views_is_read(store, prune->view) && (!found || (found->record.scan.count == 0 && prune->record.scan.count > 0)))
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

static int prune_view(struct pruning *pruning)
{
	mutex_take(&pruning->store->catalog_lock);
	struct line lines = catalog_lines(pruning->store, pruning->record.family, 0);
	mutex_give(&pruning->store->catalog_lock);
	bool alive = lines.count > 0;
	int result;

	line_clear(&lines);
	if (!alive)
		return drop_family(pruning);
	result = begin(pruning);
	for (uint32_t i = 0; i < pruning->record.scan.count && result == 0; i++)
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
		result = prune_view(&pruning);
		prune_record_clear(&pruning.record);
		visibility_free(pruning.visibility);
	}
	return result;
}

bool prune_wanted(struct store *store)
{
	struct pruning pruning = {.store = store};
	bool wanted = next_prune(store, &pruning);

	prune_record_clear(&pruning.record);
	return wanted;
}
