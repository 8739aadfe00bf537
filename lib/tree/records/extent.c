#include "lib/tree/records/extent.h"

#include <errno.h>
#include <string.h>

#include "lib/tree/records/version.h"
#include "lib/tree/records/view_inside.h"

static int decode(const uint8_t *value, size_t len, struct extent_record *ret_record)
{
	int result = extent_record_decode(value, len, ret_record);

	if (result == 0 && (ret_record->length == 0 || ret_record->length > EXTENT_LEN_MAX))
		result = -EBADMSG;
	return result < 0 ? -EIO : 0;
}

/*
 * Adds the last `limit` visible extents that start in [floor, offset), the last one first. Walking backwards meets the versions of one key
 * from the oldest to the newest. So the view sees the version of its line that is met last before the key changes.
 */
static int load_backwards(struct view *view, uint64_t ino, uint64_t floor, uint64_t offset, size_t limit, struct extent_list *list)
{
	struct tree_key first = tree_stem_extent(view->family_id, ino, floor);
	struct tree_key end = tree_stem_extent(view->family_id, ino, offset);
	struct kv_iter *iter = kv_iter_new(view->tree->kv, KV_TREE, first.bytes, first.len, end.bytes, end.len);
	struct extent found = { .offset = UINT64_MAX };
	bool visible = false;
	int result = 0;

	for (kv_iter_seek_for_prev(iter, end.bytes, end.len); result == 0 && kv_iter_valid(iter); kv_iter_prev(iter)) {
		struct tree_key_parts parts;
		size_t len;
		const uint8_t *bytes = kv_iter_key(iter, &len);

		if (tree_key_parse(bytes, len, &parts) < 0) {
			result = -EIO;
			break;
		}
		if (visible && parts.offset != found.offset) {
			array_add(list, found);
			visible = false;
			if (--limit == 0)
				break;
		}
		if (!line_has(&view->line, parts.epoch))
			continue;
		bytes = kv_iter_value(iter, &len);
		visible = len > 0;
		found.offset = parts.offset;
		found.epoch = parts.epoch;
		if (visible)
			result = decode(bytes, len, &found.record);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	if (result == 0 && visible)
		array_add(list, found);
	return result;
}

static int last_between(struct view *view, uint64_t ino, uint64_t floor, uint64_t offset, struct extent *ret_extent)
{
	struct extent_list list = { 0 };
	int result = load_backwards(view, ino, floor, offset, 1, &list);

	if (result == 0 && list.count == 0)
		result = -ENOENT;
	if (result == 0)
		*ret_extent = list.items[0];
	array_clear(&list);
	return result;
}

int extents_before(struct view *view, uint64_t ino, uint64_t offset, struct extent *ret_extent)
{
	return last_between(view, ino, 0, offset, ret_extent);
}

int extents_load_last(struct view *view, uint64_t ino, uint64_t first, size_t limit, struct extent_list *list)
{
	return load_backwards(view, ino, first, UINT64_MAX, limit, list);
}

static int extent_of_iter(struct version_iter *iter, struct extent *ret_extent)
{
	const struct tree_key_parts *parts = version_iter_parts(iter);
	size_t len;
	const uint8_t *value = version_iter_value(iter, &len);
	struct extent extent = { .offset = parts->offset, .epoch = parts->epoch };
	int result = decode(value, len, &extent.record);

	if (result == 0)
		*ret_extent = extent;
	return result;
}

int extents_load(struct view *view, uint64_t ino, uint64_t first, uint64_t end, size_t limit, struct extent_list *list)
{
	struct tree_key from = tree_stem_extent(view->family_id, ino, first);
	struct tree_key to = tree_stem_extent(view->family_id, ino, end);
	struct version_iter *iter;
	struct extent extent;
	size_t before = list->count;
	int result = -ENOENT;

	if (first >= end)
		return 0;
	if (first > 0)
		result = last_between(view, ino, first > EXTENT_LEN_MAX ? first - EXTENT_LEN_MAX : 0, first, &extent);
	if (result < 0 && result != -ENOENT)
		return result;
	if (result == 0 && extent_end(&extent) > first)
		array_add(list, extent);
	result = 0;
	iter = version_iter_new(view->tree->kv, &view->line, &from, &to, 0);
	while (result == 0 && list->count - before < limit && version_iter_next(iter)) {
		result = extent_of_iter(iter, &extent);
		if (result == 0)
			array_add(list, extent);
	}
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return result;
}

struct version_iter *extents_iterate(struct view *view, uint64_t ino)
{
	struct tree_key first = tree_prefix_kind(view->family_id, ino, KEY_EXTENT);
	struct tree_key end = tree_prefix_end(first);
	struct version_iter *iter;

	/* The iterator is made under the hold that gave the line: so it has what is overwritten in a later epoch. */
	rwlock_read(&view->epoch_lock);
	iter = version_iter_new(view->tree->kv, &view->line, &first, &end, 0);
	rwlock_give(&view->epoch_lock);
	return iter;
}

int extents_next(struct version_iter *iter, struct extent *ret_extent)
{
	int result;

	if (!version_iter_next(iter))
		return version_iter_status(iter);
	result = extent_of_iter(iter, ret_extent);
	return result < 0 ? result : 1;
}

int view_extents(struct view *view, uint64_t ino, inode_extent_fn each, void *arg)
{
	struct version_iter *iter = extents_iterate(view, ino);
	struct extent extent;
	int result = 0, more;

	do {
		more = extents_next(iter, &extent);
		result = more > 0 ? each(arg, &extent) : more;
	} while (more > 0 && result == 0);
	version_iter_free(iter);
	return result;
}
