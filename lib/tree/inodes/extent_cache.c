/*
 * Committed extents in memory, so that a READ does not need iterators. A file is divided into leaves of equal length; the extents of a leaf
 * are loaded together when one of them is first wanted, so reading at random places loads each part once, as going through the file does.
 * What all inodes hold together is bounded: an inode that would exceed it gives up its other leaves, and if that is not enough reads its
 * extents anew each time.
 */
#include "lib/tree/inodes/extent_cache.h"

#include <errno.h>
#include <uthash.h>

#include "lib/tree/records/readers.h"

#define LEAF_LEN (8ULL << 20)

struct leaf {
	uint64_t number;
	struct extent_list list; /* all that overlap the leaf */
	UT_hash_handle hh;
};

struct extent_cache {
	struct leaf *leaves; /* by number */
	uint64_t moves;      /* readers_moves() before the first of them was loaded */
};

void extent_cache_drop(struct inode *inode)
{
	struct extent_cache *cache = inode->extents;
	struct leaf *leaf, *next;

	if (!cache)
		return;
	HASH_ITER(hh, cache->leaves, leaf, next) {
		HASH_DEL(cache->leaves, leaf);
		__atomic_sub_fetch(&inode->view->tree->cached_extents, leaf->list.count + 1, __ATOMIC_RELAXED);
		array_clear(&leaf->list);
		free(leaf);
	}
	free(cache);
	inode->extents = NULL;
}

static int load(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list)
{
	struct view *view = inode->view;
	int result;

	rwlock_read(&view->epoch_lock);
	result = extents_load(view, inode->ino, first, end, EXTENTS_ALL, list);
	rwlock_give(&view->epoch_lock);
	return result;
}

static bool is_full(const struct inode *inode)
{
	return __atomic_load_n(&inode->view->tree->cached_extents, __ATOMIC_RELAXED) > inode->view->tree->options.extent_cache_entries;
}

/* Takes over the list. `moves`: since before it was loaded. */
static const struct extent_list *keep(struct inode *inode, uint64_t number, uint64_t moves, struct extent_list *list)
{
	struct leaf *leaf = xcalloc(1, sizeof(*leaf));

	if (!inode->extents) {
		inode->extents = xcalloc(1, sizeof(*inode->extents));
		inode->extents->moves = moves;
	}
	leaf->number = number;
	leaf->list = *list;
	HASH_ADD(hh, inode->extents->leaves, number, sizeof(leaf->number), leaf);
	__atomic_add_fetch(&inode->view->tree->cached_extents, list->count + 1, __ATOMIC_RELAXED);
	return &leaf->list;
}

/* An extent that reaches over the end of a leaf is met again in the next. */
static void take(const struct extent_list *from, uint64_t first, uint64_t end, struct extent_list *list)
{
	size_t low = 0, high = from->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (extent_end(&from->items[middle]) > first)
			high = middle;
		else
			low = middle + 1;
	}
	for (; low < from->count && from->items[low].offset < end; low++)
		if (list->count == 0 || list->items[list->count - 1].offset < from->items[low].offset)
			array_add(list, from->items[low]);
}

static int load_leaf(struct inode *inode, uint64_t number, uint64_t moves, uint64_t first, uint64_t end, struct extent_list *list)
{
	struct extent_list loaded = { 0 };
	struct leaf *leaf = NULL;
	int result;

	if (inode->extents)
		HASH_FIND(hh, inode->extents->leaves, &number, sizeof(number), leaf);
	if (leaf) {
		take(&leaf->list, first, end, list);
		return 0;
	}
	if (is_full(inode))
		extent_cache_drop(inode);
	if (is_full(inode)) {
		result = load(inode, first, end, &loaded);
		take(&loaded, first, end, list);
		array_clear(&loaded);
		return result;
	}
	result = load(inode, number * LEAF_LEN, (number + 1) * LEAF_LEN, &loaded);
	if (result < 0)
		array_clear(&loaded);
	else
		take(keep(inode, number, moves, &loaded), first, end, list);
	return result;
}

int extent_cache_load(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list)
{
	const uint64_t moves = readers_moves(inode->view->tree);
	int result = 0;

	if (inode->record.is_inline || inode->record.allocated == 0)
		return 0;
	if (inode->extents && inode->extents->moves != moves)
		extent_cache_drop(inode);
	while (result == 0 && first < end) {
		const uint64_t number = first / LEAF_LEN, next = MIN(end, (number + 1) * LEAF_LEN);

		result = load_leaf(inode, number, moves, first, next, list);
		first = next;
	}
	return result;
}
