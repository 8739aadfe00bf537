#include "lib/tree/inodes/extent_edit.h"

#include "lib/tree/inodes/extent_cache.h"
#include "lib/tree/records/dropped.h"

#define COUNTED_MAX (256ULL << 20)

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
	extent_cache_drop(inode);
	/* it costs little to count the extents of such a file anew; those of a longer one follow its count from edit to edit */
	if (inode->holes == HOLES_WRONG || inode->record.allocated <= COUNTED_MAX)
		inode->holes = HOLES_UNKNOWN;
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

/* `len` bytes of an old extent are mapped no more. */
static void unmap(struct extent_edit *edit, const struct extent *old, uint64_t len)
{
	struct view *view = edit->inode->view;

	edit->inode->record.allocated -= len;
	if (old->record.chunk != CHUNK_NONE && version_is_ours_alone(view, old->epoch))
		dropped_add(view->tree, len);
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
		unmap(edit, &old, MIN(extent_end(&old), end) - MAX(old.offset, first));
		carry_rest(edit, &old, end);
	}
}

static int remove_stem(struct extent_edit *edit, uint64_t offset)
{
	struct tree_key stem = tree_stem_extent(edit->inode->view->family_id, edit->inode->ino, offset);

	return version_delete(edit->inode->view, edit->batch, &stem, NULL);
}

/* `taken`: a new extent will be put under the same key, which replaces the old one. */
static int replace_old(struct extent_edit *edit, const struct extent *old, uint64_t first, uint64_t end, bool taken)
{
	struct extent left = *old;
	int result = 0;

	unmap(edit, old, MIN(extent_end(old), end) - MAX(old->offset, first));
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
	array_clear(&list);
	return result;
}

int extents_replace(struct inode *inode, struct kv_batch *batch, uint64_t first, uint64_t end, const struct extent *extents, size_t count)
{
	struct extent_edit edit = extent_edit_begin(inode, batch);
	int result = extent_edit_replace(&edit, first, end, extents, count);

	extent_edit_end(&edit);
	return result;
}
