#include "lib/store/datasets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/utf8.h"
#include "lib/store/catalog.h"
#include "lib/store/receiving.h"
#include "lib/store/unknown.h"
#include "lib/tree/records/quota.h"

int dataset_name_check(const char *what, const char *name, struct error *err)
{
	size_t len = strlen(name);

	if (len == 0)
		return error_set(err, -EINVAL, "a %s needs a name", what);
	if (len > NAME_LEN_MAX)
		return error_set(err, -ENAMETOOLONG, "%s name is too long: %zu bytes, at most %d", what, len, NAME_LEN_MAX);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".snapshots") == 0)
		return error_set(err, -EINVAL, "\"%s\" cannot be the name of a %s", name, what);
	if (name[0] == '-')
		return error_set(err, -EINVAL, "%s name \"%s\" starts with a dash", what, name);
	for (const char *at = name; *at;) {
		uint32_t character = 0;
		size_t step = utf8_character(at, len - (size_t)(at - name), &character);
		if (step == 0)
			return error_set(err, -EINVAL, "%s name is not UTF-8", what);
		if (utf8_is_control(character))
			return error_set(err, -EINVAL, "%s name holds a control character", what);
		if (*at == '/' || *at == '@')
			return error_set(err, -EINVAL, "%s name \"%s\" holds a '%c'", what, name, *at);
		at += step;
	}
	return 0;
}

/* --- create --- */

/* Where a backup says what it is of (lib/backup/backup_info.h): the files of a dataset of that name would not be found there. */
#define RESERVED_NAME ".corpusfs"

int dataset_check_new(struct store *store, const char *name, struct error *err)
{
	if (strcmp(name, RESERVED_NAME) == 0)
		return error_set(err, -EINVAL, "\"%s\" cannot be the name of a dataset: in a backup it is the name of the description", name);
	return catalog_dataset(store, name) ? error_set(err, -EEXIST, "there is a dataset \"%s\" already", name) : 0;
}

void dataset_appear(struct store *store, const char *name, struct dataset_record *record, struct lineage_view *origin)
{
	const uint64_t epoch = record->epoch;

	mutex_take(&store->catalog_lock);
	struct dataset *dataset = catalog_add_dataset(store, name, record);
	lineage_branch(dataset->family->lineage, &dataset->place, origin, epoch);
	mutex_give(&store->catalog_lock);
}

/* The batch that makes the dataset, and its record. Caller holds change_lock. */
static int build_dataset(struct store *store, const char *name, const struct stat *root, int level, struct kv_batch *batch,
			 struct dataset_record *record)
{
	uint64_t id, family, view, epoch;
	int result = catalog_number(store, COUNTER_DATASET, batch, &id);

	if (result == 0)
		result = catalog_number(store, COUNTER_FAMILY, batch, &family);
	if (result == 0)
		result = catalog_number(store, COUNTER_VIEW, batch, &view);
	if (result < 0)
		return result;
	epoch = 1;
	view_make_root(batch, (uint32_t)family, epoch, root->st_mode, root->st_uid, root->st_gid);
	record->id = (uint32_t)id;
	record->family = (uint32_t)family;
	record->view = (uint32_t)view;
	record->epoch = epoch;
	record->created = clock_now().tv_sec;
	record->level = level;
	record->schedule = xstrdup("");
	line_add(&record->line, epoch, epoch);
	catalog_put_dataset(batch, name, record);
	return 0;
}

int dataset_create_locked(struct store *store, const char *name, const struct stat *root, int level, struct error *err, uint32_t *ret_id)
{
	struct dataset_record record = {0};

	int result = dataset_check_new(store, name, err);
	if (result < 0)
		return result;
	struct kv_batch *batch = kv_batch_new();
	result = build_dataset(store, name, root, level, batch, &record);
	if (result == 0)
		result = fault_point("dataset-create-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0) {
		dataset_record_clear(&record);
		return error_set(err, result, "cannot create dataset \"%s\": %s", name, error_text(result));
	}
	*ret_id = record.id;
	dataset_appear(store, name, &record, NULL);
	return 0;
}

int dataset_create(struct store *store, const char *name, uint32_t mode, uint32_t uid, uint32_t gid, int level, struct error *err)
{
	struct stat root = {.st_mode = S_IFDIR | (mode & 07777), .st_uid = uid, .st_gid = gid};
	uint32_t id = 0;
	int result = dataset_name_check("dataset", name, err);

	if (result == 0)
		result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = dataset_create_locked(store, name, &root, level, err, &id);
	mutex_give(&store->change_lock);
	if (result == 0)
		store_changed(store, STORE_DATASETS_CHANGED, id, name);
	return result;
}

/* --- look --- */

static void fill_info(const struct dataset *dataset, struct dataset_info *info)
{
	*info = (struct dataset_info){
		.id = dataset->record.id,
		.family = dataset->record.family,
		.view = dataset->record.view,
		.epoch = dataset->record.epoch,
		.created = dataset->record.created,
		.level = dataset->record.level,
		.quota = dataset->record.quota,
		.replica = dataset->replica,
		.snapshots = HASH_CNT(by_name, dataset->snapshots),
	};
	snprintf(info->name, sizeof(info->name), "%s", dataset->name);
	snprintf(info->schedule, sizeof(info->schedule), "%s", dataset->record.schedule);
}

int dataset_get(struct store *store, const char *name, struct dataset_info *ret_info)
{
	mutex_take(&store->catalog_lock);
	struct dataset *dataset = catalog_dataset(store, name);
	if (dataset)
		fill_info(dataset, ret_info);
	mutex_give(&store->catalog_lock);
	return dataset ? 0 : -ENOENT;
}

int dataset_get_by_id(struct store *store, uint32_t id, struct dataset_info *ret_info)
{
	mutex_take(&store->catalog_lock);
	struct dataset *dataset = catalog_dataset_by_id(store, id);
	if (dataset)
		fill_info(dataset, ret_info);
	mutex_give(&store->catalog_lock);
	return dataset ? 0 : -ENOENT;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dataset_info *)a)->name, ((const struct dataset_info *)b)->name);
}

int dataset_list(struct store *store, int (*each)(void *arg, const struct dataset_info *info), void *arg)
{
	size_t count = 0;
	int result = 0;

	mutex_take(&store->catalog_lock);
	AUTO_FREE struct dataset_info *infos = xcalloc(MAX(HASH_CNT(by_name, store->datasets), 1U), sizeof(*infos));
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next)
		if (!catalog_is_hidden(dataset->name))
			fill_info(dataset, &infos[count++]);
	mutex_give(&store->catalog_lock);

	qsort(infos, count, sizeof(*infos), by_name);
	for (size_t i = 0; i < count && result == 0; i++)
		result = each(arg, &infos[i]);
	return result;
}

/* --- change --- */

static int rename_locked(struct store *store, const char *name, const char *new_name, struct error *err, uint32_t *ret_id)
{
	struct dataset *dataset = catalog_dataset(store, name);

	if (!dataset)
		return unknown_dataset(store, name, err);
	int result = dataset_check_new(store, new_name, err);
	if (result == 0)
		result = receiving_check_idle(store, name, err);
	if (result == 0)
		result = receiving_check_idle(store, new_name, err);
	if (result < 0)
		return result;
	struct kv_batch *batch = kv_batch_new();
	catalog_delete_dataset(batch, name);
	catalog_put_dataset(batch, new_name, &dataset->record);
	result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0)
		return error_set(err, result, "cannot rename dataset \"%s\": %s", name, error_text(result));
	mutex_take(&store->catalog_lock);
	catalog_rename_dataset(store, dataset, new_name);
	mutex_give(&store->catalog_lock);
	*ret_id = dataset->record.id;
	return 0;
}

int dataset_rename(struct store *store, const char *name, const char *new_name, struct error *err)
{
	uint32_t id = 0;
	int result = dataset_name_check("dataset", new_name, err);

	if (result == 0)
		result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = rename_locked(store, name, new_name, err, &id);
	mutex_give(&store->change_lock);
	if (result < 0)
		return result;
	/* The names mean other datasets now than the streams did. */
	receiving_forget(store, name);
	receiving_forget(store, new_name);
	store_changed(store, STORE_DATASETS_CHANGED, id, name);
	store_changed(store, STORE_DATASETS_CHANGED, id, new_name);
	return 0;
}

/* What can be set of a dataset. */
struct properties {
	int level;
	uint64_t quota;
	const char *schedule;
};

static struct properties properties_of(const struct dataset *dataset)
{
	const struct dataset_record *record = &dataset->record;

	return (struct properties){.level = record->level, .quota = record->quota, .schedule = record->schedule};
}

/* Writes the dataset's record anew. Caller holds change_lock. */
static int put_changed(struct store *store, struct dataset *dataset, const struct properties *now, struct error *err)
{
	struct dataset_record record = dataset->record;
	struct kv_batch *batch = kv_batch_new();

	record.level = now->level;
	record.quota = now->quota;
	record.schedule = xstrdup(now->schedule);
	catalog_put_dataset(batch, dataset->name, &record);
	int result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0) {
		free(record.schedule);
		return error_set(err, result, "cannot change dataset \"%s\": %s", dataset->name, error_text(result));
	}
	mutex_take(&store->catalog_lock);
	free(dataset->record.schedule);
	dataset->record.schedule = record.schedule;
	dataset->record.level = now->level;
	dataset->record.quota = now->quota;
	mutex_give(&store->catalog_lock);
	return 0;
}

/* Changes the record of a dataset and its open head. -1: keep. */
static int set_of_head(struct store *store, const char *name, int level, int64_t quota, struct error *err)
{
	struct properties now;
	struct view *view;
	int result = store_begin_change(store, err);

	if (result < 0)
		return result;
	struct dataset *dataset = catalog_dataset(store, name);
	result = dataset ? views_head(store, dataset, &view) : -ENOENT;
	if (!dataset)
		unknown_dataset(store, name, err);
	else if (result < 0)
		error_set(err, result, "cannot open dataset \"%s\": %s", name, error_text(result));
	if (result == 0) {
		now = properties_of(dataset);
		now.level = level >= 0 ? level : now.level;
		now.quota = quota >= 0 ? (uint64_t)quota : now.quota;
		result = put_changed(store, dataset, &now, err);
		if (result == 0) {
			view_set_level(view, now.level);
			quota_set(view, now.quota);
		}
		store_view_put(store, view);
	}
	mutex_give(&store->change_lock);
	return result;
}

int dataset_set_level(struct store *store, const char *name, int level, struct error *err)
{
	if (level < 0 || level > 22)
		return error_set(err, -EINVAL, "compression level %d is not in 0..22", level);
	return set_of_head(store, name, level, -1, err);
}

int dataset_set_quota(struct store *store, const char *name, uint64_t bytes, struct error *err)
{
	if (bytes > INT64_MAX)
		return error_set(err, -EINVAL, "a quota of %llu bytes is too large", (unsigned long long)bytes);
	return set_of_head(store, name, -1, (int64_t)bytes, err);
}

int dataset_usage(struct store *store, const char *name, uint64_t *ret_quota, uint64_t *ret_used)
{
	struct view *view;
	int result = store_head(store, name, &view);

	if (result < 0)
		return result;
	result = quota_usage(view, ret_quota, ret_used);
	store_view_put(store, view);
	return result;
}

int dataset_set_schedule(struct store *store, const char *name, const char *schedule, struct error *err)
{
	if (strlen(schedule) >= sizeof(((struct dataset_info *)NULL)->schedule))
		return error_set(err, -EINVAL, "the schedule is too long");
	int result = store_begin_change(store, err);
	if (result < 0)
		return result;
	struct dataset *dataset = catalog_dataset(store, name);
	if (dataset) {
		struct properties now = properties_of(dataset);
		now.schedule = schedule;
		result = put_changed(store, dataset, &now, err);
	} else {
		result = unknown_dataset(store, name, err);
	}
	mutex_give(&store->change_lock);
	return result;
}
