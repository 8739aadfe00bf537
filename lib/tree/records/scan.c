#include "lib/tree/records/scan.h"

#include <errno.h>
#include <string.h>

#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/version.h"
#include "lib/tree/records/view_inside.h"

void scan_of_view(struct scan *scan, struct view *view)
{
	*scan = (struct scan){.tree = view->tree, .view = view, .family = view->family_id, .line = view_line(view)};
}

void scan_of_line(struct scan *scan, struct tree *tree, uint32_t family, const struct line *line)
{
	*scan = (struct scan){.tree = tree, .family = family, .line = line_copy(line)};
}

void scan_clear(struct scan *scan)
{
	line_clear(&scan->line);
}

static int damaged(int result)
{
	return result == -EBADMSG ? -EIO : result;
}

/* --- one record --- */

static int get(const struct scan *scan, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch)
{
	if (scan->view)
		return view_version_get(scan->view, stem, value, ret_epoch);
	return version_get(scan->tree->kv, &scan->line, stem, value, ret_epoch);
}

void scan_inode_clear(struct scan_inode *inode)
{
	buf_clear(&inode->value);
	*inode = (struct scan_inode){0};
}

struct attr scan_attr(const struct scan_inode *inode)
{
	return attr_of_record(inode->ino, &inode->record);
}

int scan_inode(const struct scan *scan, uint64_t ino, struct scan_inode *ret_inode)
{
	struct tree_key stem = tree_stem_inode(scan->family, ino);
	struct scan_inode inode = {.ino = ino};
	int result = get(scan, &stem, &inode.value, &inode.epoch);

	if (result == 0)
		result = inode_record_decode(inode.value.data, inode.value.len, &inode.record);
	if (result < 0) {
		buf_clear(&inode.value);
		return damaged(result);
	}
	*ret_inode = inode;
	return 0;
}

int scan_named_inode(const struct scan *scan, uint64_t ino, struct scan_inode *ret_inode)
{
	struct scan_inode inode;
	int result = scan_inode(scan, ino, &inode);

	if (result < 0)
		return result;
	if (inode.record.nlink == 0) {
		scan_inode_clear(&inode);
		return -ENOENT;
	}
	*ret_inode = inode;
	return 0;
}

int scan_epoch(const struct scan *scan, const struct tree_key *stem, uint64_t *ret_epoch)
{
	return damaged(get(scan, stem, NULL, ret_epoch));
}

int scan_entry(const struct scan *scan, uint64_t dir, const char *name, struct entry_record *ret_entry)
{
	struct tree_key stem = tree_stem_entry(scan->family, dir, name);
	AUTO_BUF value = BUF_INIT;
	int result = get(scan, &stem, &value, NULL);

	if (result == 0)
		result = entry_record_decode(value.data, value.len, ret_entry);
	return damaged(result);
}

/* --- all of a kind --- */

/* The iterator is made under the hold that gave the line: so it has what a head overwrites later. */
static struct version_iter *iterate(const struct scan *scan, const struct tree_key *first, const struct tree_key *end)
{
	struct version_iter *iter;

	if (!scan->view)
		return version_iter_new(scan->tree->kv, &scan->line, first, end, 0);
	rwlock_read(&scan->view->epoch_lock);
	iter = version_iter_new(scan->tree->kv, &scan->view->line, first, end, 0);
	rwlock_give(&scan->view->epoch_lock);
	return iter;
}

static struct version_iter *iterate_kind(const struct scan *scan, uint64_t ino, enum key_kind kind)
{
	struct tree_key first = tree_prefix_kind(scan->family, ino, kind), end = tree_prefix_end(first);

	return iterate(scan, &first, &end);
}

static int finish(struct version_iter *iter, int result)
{
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return damaged(result);
}

int scan_entries(const struct scan *scan, uint64_t dir, const char *after, scan_entry_fn each, void *arg)
{
	struct tree_key prefix = tree_prefix_kind(scan->family, dir, KEY_ENTRY), end = tree_prefix_end(prefix);
	/* No version has epoch 0: this key lies behind all versions of the name. */
	struct tree_key first = *after ? tree_key_at(tree_stem_entry(scan->family, dir, after), 0) : prefix;
	struct version_iter *iter = iterate(scan, &first, &end);
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

void scan_list_clear(struct scan_list *list)
{
	array_clear(list);
	buf_clear(&list->names);
}

static int add_name(void *arg, const char *name, const struct entry_record *entry)
{
	struct scan_list *list = arg;

	array_add(list, (struct scan_name){.ino = entry->ino, .type = entry->type});
	buf_add(&list->names, name, strlen(name) + 1);
	return 0;
}

int scan_list(const struct scan *scan, uint64_t dir, struct scan_list *ret_list)
{
	struct scan_list list = {0};
	int result = scan_entries(scan, dir, "", add_name, &list);

	if (result < 0) {
		scan_list_clear(&list);
		return result;
	}
	/* Only now do the names stay where they are. */
	const char *name = (const char *)list.names.data;
	for (size_t i = 0; i < list.count; name += strlen(name) + 1)
		list.items[i++].name = name;
	*ret_list = list;
	return 0;
}

int scan_xattrs(const struct scan *scan, uint64_t ino, struct buf *packed)
{
	struct version_iter *iter = iterate_kind(scan, ino, KEY_XATTR);

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

/* What does not fit to the record: -EIO; -EAGAIN: the scan is of a head, which has written to the file since its record was read. */
static int damaged_or_newer(const struct scan *scan, const struct scan_inode *inode)
{
	struct scan_inode now;
	int result;

	if (!scan->view || view_read_only(scan->view))
		return -EIO;
	result = scan_inode(scan, inode->ino, &now);
	if (result < 0)
		return result == -ENOENT ? -EAGAIN : result;
	result = now.value.len == inode->value.len && memcmp(now.value.data, inode->value.data, now.value.len) == 0 ? -EIO : -EAGAIN;
	scan_inode_clear(&now);
	return result;
}

int scan_inline(const struct scan *scan, const struct scan_inode *inode, struct buf *ret_content)
{
	int result = inline_content_get(scan->tree, scan->family, inode->ino, &inode->record, ret_content);

	return result == -EIO ? damaged_or_newer(scan, inode) : result;
}

int scan_extents_from(const struct scan *scan, uint64_t ino, uint64_t from, inode_extent_fn each, void *arg)
{
	struct tree_key first = tree_stem_extent(scan->family, ino, from);
	struct tree_key end = tree_prefix_end(tree_prefix_kind(scan->family, ino, KEY_EXTENT));
	struct version_iter *iter = iterate(scan, &first, &end);
	int result = 0;

	while (result == 0 && version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		struct extent extent = {.offset = parts->offset, .epoch = parts->epoch};
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		result = extent_record_decode(value, len, &extent.record);
		if (result == 0 && (extent.record.length == 0 || extent.record.length > EXTENT_LEN_MAX))
			result = -EBADMSG;
		if (result == 0)
			result = each(arg, &extent);
	}
	return finish(iter, result);
}

struct adding {
	bool (*cancelled)(void *arg);
	void *arg;
	uint64_t sum;
};

static int add_length(void *arg, const struct extent *extent)
{
	struct adding *adding = arg;

	adding->sum += extent->record.length;
	return adding->cancelled && adding->cancelled(adding->arg) ? -ECANCELED : 0;
}

int scan_check_holes(const struct scan *scan, const struct scan_inode *inode, bool (*cancelled)(void *arg), void *arg)
{
	struct adding adding = {.cancelled = cancelled, .arg = arg};
	int result = scan_extents(scan, inode->ino, add_length, &adding);

	return result == 0 && adding.sum != inode->record.allocated ? damaged_or_newer(scan, inode) : result;
}

int scan_extents(const struct scan *scan, uint64_t ino, inode_extent_fn each, void *arg)
{
	return scan_extents_from(scan, ino, 0, each, arg);
}
