#include "lib/store/mend_lost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/kv/lost_changes.h"
#include "lib/store/catalog.h"
#include "lib/store/catalog_records.h"

#define NAMES_MAX 20 /* of each kind; more are not told one by one */

struct lost_snapshot {
	uint32_t dataset;
	char name[NAME_LEN_MAX + 1];
};

struct lost {
	ARRAY(uint32_t) families;
	ARRAY(struct lost_snapshot) snapshots;
	ARRAY(char *) datasets; /* whose records were changed: made, renamed, rolled back, or a snapshot was taken */
	bool more;
};

static void add_family(struct lost *lost, uint32_t family)
{
	for (size_t i = 0; i < lost->families.count; i++)
		if (lost->families.items[i] == family)
			return;
	array_add(&lost->families, family);
}

static void add_snapshot(struct lost *lost, const struct catalog_change *change)
{
	for (size_t i = 0; i < lost->snapshots.count; i++)
		if (lost->snapshots.items[i].dataset == change->number && strcmp(lost->snapshots.items[i].name, change->name) == 0)
			return;
	if (lost->snapshots.count == NAMES_MAX) {
		lost->more = true;
		return;
	}
	struct lost_snapshot *snapshot = array_new(&lost->snapshots);
	snapshot->dataset = change->number;
	snprintf(snapshot->name, sizeof(snapshot->name), "%s", change->name);
}

static void add_dataset(struct lost *lost, const char *name)
{
	for (size_t i = 0; i < lost->datasets.count; i++)
		if (strcmp(lost->datasets.items[i], name) == 0)
			return;
	if (lost->datasets.count == NAMES_MAX)
		lost->more = true;
	else
		array_add(&lost->datasets, xstrdup(name));
}

static int take_change(void *arg, enum kv_family family, const uint8_t *key, size_t key_len)
{
	struct catalog_change change;
	struct lost *lost = arg;

	catalog_change_of(family, key, key_len, &change);
	if (change.what == CHANGE_OF_FILES)
		add_family(lost, change.number);
	else if (change.what == CHANGE_OF_SNAPSHOT)
		add_snapshot(lost, &change);
	else if (change.what == CHANGE_OF_DATASET)
		add_dataset(lost, change.name);
	return 0;
}

/* Of the datasets that there were before the damage. */
static void add_names(struct lost *lost, struct store *store)
{
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next)
		for (size_t i = 0; i < lost->families.count; i++)
			if (lost->families.items[i] == dataset->record.family)
				add_dataset(lost, dataset->name);
}

static const char *dataset_name(struct store *store, uint32_t id)
{
	const struct dataset *dataset = store ? catalog_dataset_by_id(store, id) : NULL;

	return dataset ? dataset->name : "?";
}

void mend_lost_tell(const char *path, const char *db, struct buf *text)
{
	const struct store_options options = {.damaged = true};
	struct store *store = NULL;
	struct lost lost = {0};
	/* What cannot be told is left out. */
	int ignored = lost_changes_each(db, take_change, &lost);

	if (ignored == 0 && store_open(path, &options, &store, NULL) == 0)
		add_names(&lost, store);
	for (size_t i = 0; i < lost.datasets.count; i++)
		buf_addf(text, "%s%s", i == 0 ? "; changed were the datasets " : ", ", lost.datasets.items[i]);
	for (size_t i = 0; i < lost.snapshots.count; i++)
		buf_addf(text, "%s%s@%s", i == 0 ? "; snapshots taken or destroyed: " : ", ", dataset_name(store, lost.snapshots.items[i].dataset),
			 lost.snapshots.items[i].name);
	if (lost.more)
		buf_addf(text, " and others");
	if (store)
		ignored = store_close(store);
	for (size_t i = 0; i < lost.datasets.count; i++)
		free(lost.datasets.items[i]);
	array_clear(&lost.datasets);
	array_clear(&lost.snapshots);
	array_clear(&lost.families);
}
