/* K11 and K12: what the catalogue says of the views of one family. */
#include <errno.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/tree/records/version.h"
#include "lib/verify/check_family.h"

#define TRIES 3

/* --- K11 --- */

static struct check_where where_view(const struct check_family *family, unsigned rule, size_t at, uint64_t ino)
{
	return check_where_of(family, rule, &(struct interval){at, at}, ino);
}

/* The open epoch of one head, and the other views. */
static int check_open_epoch(struct check_family *family, size_t head)
{
	const struct viewer *viewer = &family->viewers.items[head];
	struct check_where where = where_view(family, 11, head, 0);
	int result = 0;

	if (viewer->line.count == 0 || array_last(&viewer->line)->last != viewer->epoch)
		return check_found(family->report, &where, "its open epoch, %llu, is not the last that it sees", (count)viewer->epoch);
	for (size_t i = 0; i < family->viewers.count && result == 0; i++) {
		if (i == head || !line_has(&family->viewers.items[i].line, viewer->epoch))
			continue;
		where = where_view(family, 11, i, 0);
		result = check_found(family->report, &where, "it sees epoch %llu, in which %s is still written", (count)viewer->epoch,
				     viewer->dataset);
	}
	return result;
}

int check_lines(struct check_family *family)
{
	struct small_key key = catalog_key_u32('F', family->family);
	struct family_record record = {0};
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(store_kv(family->store), &key, &value);

	if (result == -ENOENT || (result == 0 && family_record_decode(value.data, value.len, &record) < 0))
		return 0; /* K13 tells */
	for (size_t i = 0; i < family->viewers.count && result == 0; i++) {
		const struct viewer *viewer = &family->viewers.items[i];
		const struct check_where where = where_view(family, 11, i, 0);
		if (viewer->line.count > 0 && array_last(&viewer->line)->last >= record.next_epoch)
			result = check_found(family->report, &where, "it sees epoch %llu, and %llu is given out next",
					     (count)array_last(&viewer->line)->last, (count)record.next_epoch);
		if (result == 0 && viewer->snapshot[0] == 0)
			result = check_open_epoch(family, i);
	}
	const struct check_where where = {.rule = 13, .dataset = family->viewers.items[0].dataset, .ino = family->max_ino};
	if (result == 0 && family->max_ino >= record.next_ino)
		result = check_found(family->report, &where, "there is this inode, and number %llu is given out next", (count)record.next_ino);
	return result;
}

/* --- K12 --- */

static struct small_key orphan_key(const struct viewer *viewer, uint64_t ino)
{
	return viewer->snapshot[0] ? catalog_key_snapshot_orphan(viewer->number, ino) : catalog_key_orphan(viewer->dataset_id, ino);
}

/* The view's line as it is now; false: it is not there any more. */
static bool line_now(struct store *store, const struct viewer *viewer, struct line *ret_line)
{
	const struct line *line = NULL;

	mutex_take(&store->catalog_lock);
	const struct dataset *dataset = catalog_dataset_by_id(store, viewer->dataset_id);
	const struct snapshot *snapshot = catalog_snapshot_by_view(store, viewer->number);
	if (viewer->snapshot[0])
		line = snapshot ? &snapshot->record.line : NULL;
	else
		line = dataset && dataset->record.view == viewer->number ? &dataset->record.line : NULL;
	if (line)
		*ret_line = line_copy(line);
	mutex_give(&store->catalog_lock);
	return line != NULL;
}

struct orphan_now {
	bool is_there, is_named, is_noted;
};

/* Others write: a change of names and its note are one batch, so it is asked twice and must be the same. Caller holds change_lock. */
static int look_now(const struct check_family *family, const struct viewer *viewer, const struct line *line, uint64_t ino,
		    struct orphan_now *ret_now)
{
	const struct tree_key stem = tree_stem_inode(family->family, ino);
	const struct small_key key = orphan_key(viewer, ino);
	struct orphan_now now = {0};
	struct inode_record record;
	AUTO_BUF value = BUF_INIT;
	int result = version_get(store_kv(family->store), line, &stem, &value, NULL);

	if (result < 0 && result != -ENOENT)
		return result;
	now.is_there = result == 0 && inode_record_decode(value.data, value.len, &record) == 0;
	now.is_named = now.is_there && record.nlink > 0;
	result = kv_has(store_kv(family->store), KV_CATALOG, key.bytes, key.len);
	now.is_noted = result == 0;
	*ret_now = now;
	return result == -ENOENT ? 0 : result;
}

static bool is_wrong(const struct orphan_now *now)
{
	return now->is_noted != (now->is_there && !now->is_named);
}

/* 1: it is wrong. */
static int look_twice(const struct check_family *family, const struct viewer *viewer, const struct line *line, uint64_t ino, struct orphan_now *now)
{
	int result = 0;

	for (int i = 0; i < TRIES && result == 0; i++) {
		result = look_now(family, viewer, line, ino, now);
		if (result == 0 && !is_wrong(now))
			return 0;
	}
	return result < 0 ? result : 1;
}

/* Something is not as it must be, or was changed since the walk. */
static int suspect(struct check_family *family, const struct viewer *viewer, uint64_t ino)
{
	const struct check_where where = where_view(family, 12, (size_t)(viewer - family->viewers.items), ino);
	struct orphan_now now = {0};
	struct line line = {0};
	int result = 0;

	mutex_take(&family->store->change_lock);
	if (line_now(family->store, viewer, &line))
		result = look_twice(family, viewer, &line, ino, &now);
	mutex_give(&family->store->change_lock);
	line_clear(&line);
	if (result <= 0)
		return result;
	if (!now.is_noted)
		return check_found(family->report, &where, "it has no name, and is not noted as an orphan: nothing would remove it");
	return check_found(family->report, &where, "it is noted as an orphan, and %s", now.is_named ? "has a name" : "is not there");
}

/* What is noted of one view; each that was met without a name leaves the set. */
static int check_noted(struct check_family *family, size_t at)
{
	const struct viewer *viewer = &family->viewers.items[at];
	const struct small_key first = orphan_key(viewer, 0), end = orphan_key(viewer, UINT64_MAX);
	struct kv_iter *iter = catalog_record_iterate(store_kv(family->store), &first, &end);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		AUTO_BUF key = BUF_INIT;
		size_t len;
		const uint8_t *bytes = kv_iter_key(iter, &len);
		if (len != first.len)
			continue; /* K13 tells */
		const uint64_t ino = spill_number(bytes + len - sizeof(uint64_t));
		buf_add_be64(&key, at);
		buf_add_be64(&key, ino);
		result = spill_get(family->orphans, key.data, key.len, NULL);
		if (result == -ENOENT)
			result = suspect(family, viewer, ino);
		if (result == 0)
			result = check_step(family->report);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

static int check_unnamed(void *arg, const struct spill_item *item)
{
	struct check_family *family = arg;
	const struct viewer *viewer = &family->viewers.items[spill_number(item->key)];
	const uint64_t ino = spill_number(item->key + sizeof(uint64_t));
	const struct small_key key = orphan_key(viewer, ino);
	int result = kv_has(store_kv(family->store), KV_CATALOG, key.bytes, key.len);

	if (result == -ENOENT)
		result = suspect(family, viewer, ino);
	return result == 0 ? check_step(family->report) : result;
}

int check_orphans(struct check_family *family)
{
	int result = spill_each(family->orphans, check_unnamed, family);

	for (size_t at = 0; at < family->viewers.count && result == 0; at++)
		result = check_noted(family, at);
	return result;
}
