#include <errno.h>
#include <string.h>

#include "lib/tree/records/inode.h"

void extent_list_clear(struct extent_list *list)
{
	free(list->items);
	*list = (struct extent_list){ 0 };
}

void extent_list_add(struct extent_list *list, const struct extent *extent)
{
	if (list->count == list->cap) {
		list->cap = list->cap ? 2 * list->cap : 4;
		list->items = xrealloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count++] = *extent;
}

static uint64_t extent_end(const struct extent *extent)
{
	return extent->offset + extent->record.length;
}

static int decode(const uint8_t *value, size_t len, struct extent_record *ret_record)
{
	int result = extent_record_decode(value, len, ret_record);

	if (result == 0 && (ret_record->length == 0 || ret_record->length > EXTENT_LEN_MAX))
		result = -EBADMSG;
	return result < 0 ? -EIO : 0;
}

/*
 * The last visible extent that starts in [floor, offset). Walking backwards meets the versions of one key from the oldest to the newest,
 * so the last one of the line that is met before the key changes is the one that the view sees.
 */
static int last_between(struct view *view, uint64_t ino, uint64_t floor, uint64_t offset, struct extent *ret_extent)
{
	struct tree_key first = tree_stem_extent(view->family_id, ino, floor);
	struct tree_key end = tree_stem_extent(view->family_id, ino, offset);
	struct kv_iter *iter = kv_iter_new(view->tree->kv, KV_TREE, first.bytes, first.len, end.bytes, end.len);
	struct extent found = { .offset = UINT64_MAX };
	bool visible = false;
	int result = 0;

	for (kv_iter_seek_for_prev(iter, end.bytes, end.len); kv_iter_valid(iter); kv_iter_prev(iter)) {
		struct tree_key_parts parts;
		size_t len;
		const uint8_t *bytes = kv_iter_key(iter, &len);

		if (tree_key_parse(bytes, len, &parts) < 0) {
			result = -EIO;
			break;
		}
		if (visible && parts.offset != found.offset)
			break;
		if (!line_has(&view->line, parts.epoch))
			continue;
		bytes = kv_iter_value(iter, &len);
		visible = len > 0;
		found.offset = parts.offset;
		found.epoch = parts.epoch;
		if (visible)
			result = decode(bytes, len, &found.record);
		if (result < 0)
			break;
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	if (result < 0)
		return result;
	if (!visible)
		return -ENOENT;
	*ret_extent = found;
	return 0;
}

int extents_before(struct view *view, uint64_t ino, uint64_t offset, struct extent *ret_extent)
{
	return last_between(view, ino, 0, offset, ret_extent);
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
		extent_list_add(list, &extent);
	result = 0;
	iter = version_iter_new(view->tree->kv, &view->line, &from, &to, 0);
	while (result == 0 && list->count - before < limit && version_iter_next(iter)) {
		result = extent_of_iter(iter, &extent);
		if (result == 0)
			extent_list_add(list, &extent);
	}
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return result;
}

int view_extents(struct view *view, uint64_t ino, inode_extent_fn each, void *arg)
{
	struct tree_key first = tree_prefix_kind(view->family_id, ino, KEY_EXTENT);
	struct tree_key end = tree_prefix_end(first);
	struct version_iter *iter;
	struct extent extent;
	int result = 0;

	/* One hold for the line and the look at the database: what is overwritten in a later epoch is there for the iterator. */
	rwlock_read(&view->epoch_lock);
	iter = version_iter_new(view->tree->kv, &view->line, &first, &end, 0);
	rwlock_give(&view->epoch_lock);

	while (result == 0 && version_iter_next(iter)) {
		result = extent_of_iter(iter, &extent);
		if (result == 0)
			result = each(arg, &extent);
	}
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return result;
}

static void put_extent(struct extent_edit *edit, const struct extent *extent, uint64_t old_epoch)
{
	struct view *view = edit->inode->view;
	struct tree_key stem = tree_stem_extent(view->family_id, edit->inode->ino, extent->offset);
	AUTO_BUF value = BUF_INIT;

	extent_record_encode(&extent->record, &value);
	version_put(view, edit->batch, &stem, old_epoch, value.data, value.len);
}

struct extent_edit extent_edit_begin(struct inode *inode, struct kv_batch *batch)
{
	return (struct extent_edit){
		.inode = inode,
		.batch = batch,
		.empty = inode->record.is_inline || inode->record.allocated == 0,
	};
}

static void put_carry(struct extent_edit *edit)
{
	if (edit->has_carry)
		put_extent(edit, &edit->carry, 0);
	edit->has_carry = false;
}

void extent_edit_end(struct extent_edit *edit)
{
	put_carry(edit);
}

/* Cuts what is left of `old` beyond `end`, if anything, into the carry. */
static void carry_rest(struct extent_edit *edit, const struct extent *old, uint64_t end)
{
	uint32_t skip;

	edit->has_carry = extent_end(old) > end;
	if (!edit->has_carry)
		return;
	skip = (uint32_t)(end - old->offset);
	edit->carry = *old;
	edit->carry.offset = end;
	edit->carry.record.length -= skip;
	if (old->record.chunk != CHUNK_NONE)
		edit->carry.record.chunk_offset += skip;
}

/* The carry starts at or before `first`, being the rest of a range before. */
static void replace_carry(struct extent_edit *edit, uint64_t first, uint64_t end)
{
	struct extent old = edit->carry;

	if (!edit->has_carry)
		return;
	if (old.offset < first) {
		edit->carry.record.length = (uint32_t)(MIN(extent_end(&old), first) - old.offset);
		put_carry(edit);
	}
	if (extent_end(&old) > first) {
		edit->inode->record.allocated -= MIN(extent_end(&old), end) - MAX(old.offset, first);
		carry_rest(edit, &old, end);
	}
}

static int remove_stem(struct extent_edit *edit, uint64_t offset)
{
	struct tree_key stem = tree_stem_extent(edit->inode->view->family_id, edit->inode->ino, offset);

	return version_delete(edit->inode->view, edit->batch, &stem);
}

/* `taken`: a new extent will be put under the same key, which replaces the old one. */
static int replace_old(struct extent_edit *edit, const struct extent *old, uint64_t first, uint64_t end, bool taken)
{
	struct extent left = *old;
	int result = 0;

	edit->inode->record.allocated -= MIN(extent_end(old), end) - MAX(old->offset, first);
	edit->seen = old->offset + 1;
	if (old->offset < first) {
		left.record.length = (uint32_t)(first - old->offset);
		put_extent(edit, &left, old->epoch);
	} else if (!taken) {
		result = remove_stem(edit, old->offset);
	}
	carry_rest(edit, old, end);
	return result;
}

int extent_edit_replace(struct extent_edit *edit, uint64_t first, uint64_t end, const struct extent *extents, size_t count)
{
	struct inode *inode = edit->inode;
	struct extent_list list = { 0 };
	size_t next = 0;
	int result = 0;

	replace_carry(edit, first, end);
	if (!edit->empty)
		result = extents_load(inode->view, inode->ino, first, end, EXTENTS_ALL, &list);
	for (size_t i = 0; i < list.count && result == 0; i++) {
		const struct extent *old = &list.items[i];
		bool taken;

		if (old->offset < edit->seen)
			continue;
		for (; next < count && extents[next].offset < old->offset; next++)
			put_extent(edit, &extents[next], 0);
		taken = next < count && extents[next].offset == old->offset;
		result = replace_old(edit, old, first, end, taken);
		if (taken)
			put_extent(edit, &extents[next++], old->epoch);
	}
	for (; next < count; next++)
		put_extent(edit, &extents[next], 0);
	for (size_t i = 0; i < count; i++)
		inode->record.allocated += extents[i].record.length;
	extent_list_clear(&list);
	return result;
}

int extents_replace(struct inode *inode, struct kv_batch *batch, uint64_t first, uint64_t end, const struct extent *extents, size_t count)
{
	struct extent_edit edit = extent_edit_begin(inode, batch);
	int result = extent_edit_replace(&edit, first, end, extents, count);

	extent_edit_end(&edit);
	return result;
}
