/* Snapshots as they are told: copies, so that nobody who looks at them holds a lock. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"

/* Copied under one hold of catalog_lock, for which every request of a mount waits. */
#define PAGE 64

void snapshot_info_clear(struct snapshot_info *info)
{
	free(info->note);
	for (size_t i = 0; i < info->hold_count; i++)
		free(info->holds[i]);
	free(info->holds);
	*info = (struct snapshot_info){0};
}

/* Lines are paths in a tree of epochs: who has the end of one has all of it. */
static bool is_ancestor(const struct snapshot *snapshot)
{
	const struct line *line = &snapshot->record.line;

	return line->count > 0 && line_has(&snapshot->dataset->record.line, array_last(line)->last);
}

static struct snapshot_info info_of(const struct snapshot *snapshot)
{
	const struct snapshot_record *record = &snapshot->record;
	struct snapshot_info info = {
		.dataset_id = record->dataset,
		.family = record->family,
		.view = record->view,
		.number = record->number,
		.taken = record->taken,
		.flags = record->flags,
		.is_ancestor = is_ancestor(snapshot),
		.note = xstrdup(record->note),
		.holds = xcalloc(MAX(record->hold_count, 1U), sizeof(*info.holds)),
		.hold_count = record->hold_count,
	};

	for (size_t i = 0; i < record->hold_count; i++)
		info.holds[i] = xstrdup(record->holds[i]);
	snprintf(info.name, sizeof(info.name), "%s", snapshot->name);
	snprintf(info.dataset, sizeof(info.dataset), "%s", snapshot->dataset->name);
	return info;
}

int snapshot_get(struct store *store, const char *dataset_name, const char *name, struct snapshot_info *ret_info)
{
	mutex_take(&store->catalog_lock);
	struct dataset *dataset = catalog_dataset(store, dataset_name);
	struct snapshot *snapshot = dataset ? catalog_snapshot(dataset, name) : NULL;
	if (snapshot)
		*ret_info = info_of(snapshot);
	mutex_give(&store->catalog_lock);
	return snapshot ? 0 : -ENOENT;
}

char *snapshot_name(struct store *store, uint32_t view)
{
	mutex_take(&store->catalog_lock);
	const struct snapshot *snapshot = catalog_snapshot_by_view(store, view);
	char *name = snapshot ? xstrdup(snapshot->name) : NULL;
	mutex_give(&store->catalog_lock);
	return name;
}

int snapshot_taken(struct store *store, uint32_t view, struct timespec *ret_taken)
{
	mutex_take(&store->catalog_lock);
	struct snapshot *snapshot = catalog_snapshot_by_view(store, view);
	if (snapshot)
		*ret_taken = snapshot->record.taken;
	mutex_give(&store->catalog_lock);
	return snapshot ? 0 : -ENOENT;
}

/* Copies the snapshots from `number` on; at most PAGE. Nothing, when the dataset is gone. */
static size_t copy_page(struct store *store, uint32_t dataset, uint64_t number, struct snapshot_info *page)
{
	size_t count = 0;

	mutex_take(&store->catalog_lock);
	struct dataset *only = dataset ? catalog_dataset_by_id(store, dataset) : NULL;
	const struct snapshot_order *order = only ? &only->order : &store->order;
	if (only || !dataset)
		for (size_t at = catalog_order_from(order, number); at < order->count && count < PAGE; at++)
			page[count++] = info_of(order->items[at]);
	mutex_give(&store->catalog_lock);
	return count;
}

int snapshot_list_by_id(struct store *store, uint32_t dataset, int (*each)(void *arg, const struct snapshot_info *info), void *arg)
{
	AUTO_FREE struct snapshot_info *page = xcalloc(PAGE, sizeof(*page));
	uint64_t next = 0;
	size_t count = PAGE;
	int result = 0;

	while (result == 0 && count == PAGE) {
		count = copy_page(store, dataset, next, page);
		for (size_t i = 0; i < count; i++) {
			next = page[i].number + 1;
			if (result == 0 && (dataset || !catalog_is_hidden(page[i].dataset)))
				result = each(arg, &page[i]);
			snapshot_info_clear(&page[i]);
		}
	}
	return result;
}

int snapshot_list(struct store *store, const char *dataset_name, int (*each)(void *arg, const struct snapshot_info *info), void *arg)
{
	struct dataset_info dataset = {0};
	int result = dataset_name ? dataset_get(store, dataset_name, &dataset) : 0;

	return result < 0 ? result : snapshot_list_by_id(store, dataset.id, each, arg);
}
