#include "lib/history/view_reader.h"

#include <errno.h>
#include <string.h>

#include "lib/tree/records/version.h"

void reader_init(struct view_reader *side, struct store *store, struct view *view)
{
	*side = (struct view_reader){.store = store, .view = view, .family = view_family(view), .line = view_line(view)};
}

void reader_clear(struct view_reader *side)
{
	line_clear(&side->line);
}

static int damaged(int result)
{
	return result == -EBADMSG ? -EIO : result;
}

void reader_inode_clear(struct reader_inode *inode)
{
	buf_clear(&inode->value);
	*inode = (struct reader_inode){0};
}

int reader_inode(const struct view_reader *side, uint64_t ino, struct reader_inode *ret_inode)
{
	struct tree_key stem = tree_stem_inode(side->family, ino);
	struct reader_inode inode = {.ino = ino};
	int result = version_get(store_kv(side->store), &side->line, &stem, &inode.value, &inode.epoch);

	if (result == 0)
		result = inode_record_decode(inode.value.data, inode.value.len, &inode.record);
	if (result == 0 && inode.record.nlink == 0)
		result = -ENOENT;
	if (result < 0) {
		buf_clear(&inode.value);
		return damaged(result);
	}
	*ret_inode = inode;
	return 0;
}

struct attr reader_attr(const struct reader_inode *inode)
{
	const struct inode_record *record = &inode->record;

	return (struct attr){
		.ino = inode->ino,
		.mode = record->mode,
		.uid = record->uid,
		.gid = record->gid,
		.nlink = record->nlink,
		.size = record->size,
		.allocated = record->allocated,
		.rdev = record->rdev,
		.atime = record->atime,
		.mtime = record->mtime,
		.ctime = record->ctime,
		.btime = record->btime,
	};
}

int reader_entry(const struct view_reader *side, uint64_t dir, const char *name, struct entry_record *ret_entry)
{
	struct tree_key stem = tree_stem_entry(side->family, dir, name);
	AUTO_BUF value = BUF_INIT;
	int result = version_get(store_kv(side->store), &side->line, &stem, &value, NULL);

	if (result == 0)
		result = entry_record_decode(value.data, value.len, ret_entry);
	return damaged(result);
}

static struct version_iter *iterate(const struct view_reader *side, uint64_t ino, enum key_kind kind)
{
	struct tree_key first = tree_prefix_kind(side->family, ino, kind), end = tree_prefix_end(first);

	return version_iter_new(store_kv(side->store), &side->line, &first, &end, 0);
}

static int finish(struct version_iter *iter, int result)
{
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return damaged(result);
}

int reader_each_entry(const struct view_reader *side, uint64_t dir, reader_entry_fn each, void *arg)
{
	struct version_iter *iter = iterate(side, dir, KEY_ENTRY);
	int result = 0;

	while (result == 0 && version_iter_next(iter)) {
		struct entry_record entry;
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		result = entry_record_decode(value, len, &entry);
		if (result == 0)
			result = each(arg, version_iter_parts(iter)->name, &entry);
	}
	return finish(iter, result);
}

void reader_list_clear(struct reader_list *list)
{
	free(list->items);
	buf_clear(&list->names);
	*list = (struct reader_list){0};
}

static int add_name(void *arg, const char *name, const struct entry_record *entry)
{
	struct reader_list *list = arg;

	if (list->count == list->cap) {
		list->cap = MAX(list->cap * 2, 64U);
		list->items = xrealloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count++] = (struct reader_name){.ino = entry->ino, .type = entry->type};
	buf_add(&list->names, name, strlen(name) + 1);
	return 0;
}

int reader_list(const struct view_reader *side, uint64_t dir, struct reader_list *ret_list)
{
	struct reader_list list = {0};
	int result = reader_each_entry(side, dir, add_name, &list);

	if (result < 0) {
		reader_list_clear(&list);
		return result;
	}
	/* only now do the names stay where they are */
	const char *name = (const char *)list.names.data;
	for (size_t i = 0; i < list.count; name += strlen(name) + 1)
		list.items[i++].name = name;
	*ret_list = list;
	return 0;
}

int reader_xattrs(const struct view_reader *side, uint64_t ino, struct buf *packed)
{
	struct version_iter *iter = iterate(side, ino, KEY_XATTR);

	while (version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		buf_add_le64(packed, len);
		buf_add_le64(packed, parts->name_len);
		buf_add(packed, parts->name, parts->name_len);
		buf_add(packed, value, len);
	}
	return finish(iter, 0);
}

int reader_extents(const struct view_reader *side, uint64_t ino, struct reader_extents *extents)
{
	struct version_iter *iter = iterate(side, ino, KEY_EXTENT);
	int result = 0;

	extents->count = 0;
	while (result == 0 && version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		struct extent extent = {.offset = parts->offset, .epoch = parts->epoch};
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		result = extent_record_decode(value, len, &extent.record);
		if (extents->count == extents->cap) {
			extents->cap = MAX(extents->cap * 2, 64U);
			extents->items = xrealloc(extents->items, extents->cap * sizeof(*extents->items));
		}
		extents->items[extents->count++] = extent;
	}
	return finish(iter, result);
}
