/* Open views: found by number, counted, closed when nobody needs them. See catalog.h for the locks. */
#include <assert.h>
#include <errno.h>
#include <utlist.h>

#include "lib/base/fault.h"
#include "lib/store/catalog.h"
#include "lib/store/unknown.h"

#define IDLE_MAX 32 /* snapshots' views kept open although unused */

static struct open_view *find(struct store *store, uint32_t number)
{
	struct open_view *open;

	HASH_FIND(hh, store->open, &number, sizeof(number), open);
	return open;
}

static void leave_idle(struct store *store, struct open_view *open)
{
	if (!open->idle)
		return;
	DL_DELETE(store->idle, open);
	store->idle_count--;
	open->idle = false;
}

/* Takes it out of the table; the caller closes open->view without catalog_lock and frees it. */
static void take_out(struct store *store, struct open_view *open)
{
	leave_idle(store, open);
	if (open->retired) {
		DL_DELETE(store->retired, open);
		catalog_leave(store, open->family, &open->place);
	}
	HASH_DEL(store->open, open);
}

/* What could not be committed is lost, and said so. */
static int close_taken(struct open_view *open)
{
	int result;

	if (!open)
		return 0;
	result = view_close(open->view);
	free(open);
	return result;
}

/* Caller holds catalog_lock. */
static int open_it(struct store *store, const struct view_options *options, bool head, struct open_view **ret_open)
{
	struct view *view;
	int result = view_open(store->tree, options, &view);

	if (result < 0)
		return result;
	struct open_view *open = xcalloc(1, sizeof(*open));
	open->number = options->view;
	open->view = view;
	open->head = head;
	HASH_ADD(hh, store->open, number, sizeof(open->number), open);
	*ret_open = open;
	return 0;
}

struct line views_shared(const struct dataset *dataset)
{
	return line_between(&dataset->record.line, 0, lineage_shared(&dataset->place));
}

static int open_head(struct store *store, struct dataset *dataset, struct open_view **ret_open)
{
	const struct dataset_record *record = &dataset->record;
	struct line shared = views_shared(dataset);
	struct view_options options = {
		.dataset = record->id,
		.family = record->family,
		.view = record->view,
		.epoch = record->epoch,
		.level = record->level,
		.quota = record->quota,
		.locked = dataset_is_locked(dataset) || store->read_only, /* nothing is accepted that can never be committed */
		.line = &record->line,
		.shared = &shared,
	};
	int result = dataset->blocked ? -ENOENT : fault_point("head-before-open");

	if (result == 0)
		result = open_it(store, &options, true, ret_open);
	if (result == 0)
		view_set_end((*ret_open)->view, dataset->end_ms);
	dataset->shared = lineage_shared(&dataset->place);
	line_clear(&shared);
	return result;
}

static int open_snapshot(struct store *store, struct snapshot *snapshot, struct open_view **ret_open)
{
	const struct snapshot_record *record = &snapshot->record;
	struct line nothing = {0};
	struct view_options options = {
		.dataset = record->dataset,
		.family = record->family,
		.view = record->view,
		.line = &record->line,
		.shared = &nothing,
	};

	return snapshot->blocked ? -ENOENT : open_it(store, &options, false, ret_open);
}

static int get_locked(struct store *store, uint32_t number, struct view **ret_view)
{
	struct open_view *open = find(store, number);
	int result = 0;

	if (!open) {
		struct snapshot *snapshot = catalog_snapshot_by_view(store, number);
		struct dataset *dataset = snapshot ? NULL : catalog_dataset_by_view(store, number);
		if (snapshot)
			result = open_snapshot(store, snapshot, &open);
		else
			result = dataset ? open_head(store, dataset, &open) : -ESTALE;
		if (result < 0)
			return result;
	}
	if (open->retired)
		return -ESTALE;
	if (open->blocked)
		return -ENOENT;
	leave_idle(store, open);
	open->refs++;
	*ret_view = open->view;
	return 0;
}

int store_view_by_number(struct store *store, uint32_t view, struct view **ret_view)
{
	mutex_take(&store->catalog_lock);
	int result = get_locked(store, view, ret_view);
	mutex_give(&store->catalog_lock);
	return result == -ENOENT ? -ESTALE : result;
}

void views_set_end(struct store *store, struct dataset *dataset, uint64_t end_ms)
{
	struct open_view *open = find(store, dataset->record.view);

	dataset->end_ms = end_ms;
	if (open)
		view_set_end(open->view, end_ms);
}

/* Caller holds catalog_lock. `dataset` may be NULL: -ENOENT. */
static int head_of(struct store *store, const struct dataset *dataset, struct view **ret_view)
{
	return dataset ? get_locked(store, dataset->record.view, ret_view) : -ENOENT;
}

static int snapshot_of(struct store *store, struct dataset *dataset, const char *name, struct view **ret_view)
{
	const struct snapshot *snapshot = dataset ? catalog_snapshot(dataset, name) : NULL;

	return snapshot ? get_locked(store, snapshot->record.view, ret_view) : -ENOENT;
}

int store_head(struct store *store, const char *name, struct view **ret_view)
{
	mutex_take(&store->catalog_lock);
	int result = head_of(store, catalog_dataset(store, name), ret_view);
	mutex_give(&store->catalog_lock);
	return result;
}

int store_head_by_id(struct store *store, uint32_t dataset, struct view **ret_view)
{
	mutex_take(&store->catalog_lock);
	int result = head_of(store, catalog_dataset_by_id(store, dataset), ret_view);
	mutex_give(&store->catalog_lock);
	return result;
}

int views_head(struct store *store, struct dataset *dataset, struct view **ret_view)
{
	mutex_take(&store->catalog_lock);
	int result = head_of(store, dataset, ret_view);
	mutex_give(&store->catalog_lock);
	return result;
}

int store_snapshot(struct store *store, const char *dataset_name, const char *name, struct view **ret_view)
{
	mutex_take(&store->catalog_lock);
	int result = snapshot_of(store, catalog_dataset(store, dataset_name), name, ret_view);
	mutex_give(&store->catalog_lock);
	return result;
}

int store_snapshot_by_id(struct store *store, uint32_t dataset, const char *name, struct view **ret_view)
{
	mutex_take(&store->catalog_lock);
	int result = snapshot_of(store, catalog_dataset_by_id(store, dataset), name, ret_view);
	mutex_give(&store->catalog_lock);
	return result;
}

int store_view_by_name(struct store *store, const char *name, struct view **ret_view, struct error *err)
{
	const char *at = strchr(name, '@');
	AUTO_FREE char *dataset = at ? xasprintf("%.*s", (int)(at - name), name) : xstrdup(name);
	int result = at ? store_snapshot(store, dataset, at + 1, ret_view) : store_head(store, dataset, ret_view);

	return result < 0 ? unknown_or_failed(store, dataset, at ? at + 1 : NULL, result, err) : 0;
}

void store_view_put(struct store *store, struct view *view)
{
	struct open_view *leaving = NULL;

	mutex_take(&store->catalog_lock);
	struct open_view *open = find(store, view_number(view));
	assert(open && open->view == view && open->refs > 0);
	if (--open->refs == 0) {
		if (open->retired) {
			leaving = open;
		} else if (!open->head) {
			DL_APPEND(store->idle, open);
			open->idle = true;
			if (++store->idle_count > IDLE_MAX)
				leaving = store->idle;
		}
		if (leaving)
			take_out(store, leaving);
		pthread_cond_broadcast(&store->unused);
	}
	mutex_give(&store->catalog_lock);
	/* a snapshot or a retired head: neither has anything to lose */
	(void)close_taken(leaving);
}

static bool is_used(struct store *store, uint32_t number)
{
	const struct open_view *open = find(store, number);

	return open && open->refs > 0;
}

/* Caller holds catalog_lock. */
static int check_unused(struct store *store, const struct view_block *blocks, size_t count, uint32_t *ret_used)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_used(store, blocks[i].number))
			continue;
		*ret_used = blocks[i].number;
		return -EAGAIN;
	}
	return 0;
}

int views_check_unused(struct store *store, const struct view_block *blocks, size_t count, uint32_t *ret_used)
{
	mutex_take(&store->catalog_lock);
	int result = check_unused(store, blocks, count, ret_used);
	mutex_give(&store->catalog_lock);
	return result;
}

int views_block(struct store *store, const struct view_block *blocks, size_t count, uint32_t *ret_used)
{
	struct open_view *taken = NULL, *open, *next;

	mutex_take(&store->catalog_lock);
	int result = check_unused(store, blocks, count, ret_used);
	for (size_t i = 0; result == 0 && i < count; i++) {
		*blocks[i].blocked = true;
		open = find(store, blocks[i].number);
		if (open && open->head) {
			open->blocked = true;
		} else if (open) {
			take_out(store, open);
			DL_APPEND(taken, open);
		}
	}
	mutex_give(&store->catalog_lock);
	/* snapshots': they have nothing to lose */
	DL_FOREACH_SAFE(taken, open, next)
		(void)close_taken(open);
	return result;
}

void views_unblock(struct store *store, const struct view_block *blocks, size_t count)
{
	mutex_take(&store->catalog_lock);
	for (size_t i = 0; i < count; i++) {
		struct open_view *open = find(store, blocks[i].number);
		*blocks[i].blocked = false;
		if (open)
			open->blocked = false;
	}
	mutex_give(&store->catalog_lock);
}

void views_close_blocked(struct store *store, uint32_t head)
{
	mutex_take(&store->catalog_lock);
	struct open_view *open = find(store, head);
	if (open)
		take_out(store, open);
	mutex_give(&store->catalog_lock);
	/* what goes need not be stored */
	(void)close_taken(open);
}

bool views_wait_unused(struct store *store, uint32_t number, const struct timespec *deadline)
{
	bool in_time = true;

	mutex_take(&store->catalog_lock);
	while (in_time && is_used(store, number))
		in_time = mutex_wait_until(&store->catalog_lock, &store->unused, deadline);
	mutex_give(&store->catalog_lock);
	return in_time;
}

void views_retire(struct store *store, const struct dataset *dataset, uint32_t keeper)
{
	struct open_view *open = find(store, dataset->record.view);

	if (!open)
		return;
	open->retired = true;
	open->head = false;
	open->keeper = keeper;
	open->family = dataset->family;
	open->place.view = open->number;
	lineage_join(open->family->lineage, &open->place, &dataset->place);
	DL_APPEND(store->retired, open);
}

bool views_is_read(struct store *store, uint32_t keeper)
{
	struct open_view *open;

	DL_SEARCH_SCALAR(store->retired, open, keeper, keeper);
	return open != NULL;
}

/* Only change_lock's holder opens heads and takes them away, so the view that is found stays. */
static void refresh_head(struct store *store, struct dataset *dataset)
{
	struct line shared = {0};
	struct view *view = NULL;

	mutex_take(&store->catalog_lock);
	struct open_view *open = find(store, dataset->record.view);
	if (open && dataset->shared != lineage_shared(&dataset->place)) {
		dataset->shared = lineage_shared(&dataset->place);
		shared = views_shared(dataset);
		view = open->view;
	}
	mutex_give(&store->catalog_lock);
	if (view)
		view_set_shared(view, &shared);
	line_clear(&shared);
}

/* The caller holds change_lock, so the list stays as it is. */
static struct dataset *heads_of(struct store *store, uint32_t number)
{
	mutex_take(&store->catalog_lock);
	struct family_views *family = catalog_family(store, number);
	struct dataset *heads = family ? family->heads : NULL;
	mutex_give(&store->catalog_lock);
	return heads;
}

void views_refresh_shared(struct store *store, uint32_t family)
{
	for (struct dataset *dataset = heads_of(store, family); dataset; dataset = dataset->next)
		refresh_head(store, dataset);
}

static int by_dataset(const void *a, const void *b)
{
	uint32_t left = view_dataset(*(struct view *const *)a), right = view_dataset(*(struct view *const *)b);

	return left < right ? -1 : left > right;
}

int views_get_heads(struct store *store, uint32_t family, struct view_set *ret_set)
{
	struct view_set set = {0};

	for (struct dataset *dataset = heads_of(store, family); dataset; dataset = dataset->next) {
		struct view *view;
		if (dataset->blocked)
			continue;
		int result = views_head(store, dataset, &view);
		if (result < 0) {
			views_put_heads(store, &set);
			return result;
		}
		array_add(&set, view);
	}
	if (set.count > 0)
		qsort(set.items, set.count, sizeof(*set.items), by_dataset);
	*ret_set = set;
	return 0;
}

void views_put_heads(struct store *store, struct view_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		store_view_put(store, set->items[i]);
	array_clear(set);
}

int views_close_all(struct store *store)
{
	int result = 0;

	while (store->open) {
		struct open_view *open = store->open;
		assert(open->refs == 0);
		take_out(store, open);
		int closed = close_taken(open);
		result = result < 0 ? result : closed;
	}
	return result;
}
