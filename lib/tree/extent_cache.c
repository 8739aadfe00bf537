/*
 * Committed extents in memory, so that a READ does not need iterators. A file of few extents is held whole; of a long one a window, longer
 * when reading goes on where it ended. What all inodes hold together is bounded: beyond it windows stay short.
 */
#include <errno.h>

#include "lib/tree/inode.h"

#define WINDOW_MIN 64
#define WINDOW_MAX 4096
#define CACHED_MAX (1U << 20)
#define WHOLE_BYTES (256ULL << 20) /* a file with less in extents is held whole, if it has no more than WINDOW_MAX of them */

struct extent_cache {
	struct extent_list list;
	uint64_t first, end; /* all extents that overlap it are in the list */
	bool holes_confirmed;
};

static uint64_t extent_end(const struct extent *extent)
{
	return extent->offset + extent->record.length;
}

void extent_cache_drop(struct inode *inode)
{
	struct extent_cache *cache = inode->extents;

	if (!cache)
		return;
	__atomic_sub_fetch(&inode->view->tree->cached_extents, cache->list.count, __ATOMIC_RELAXED);
	extent_list_clear(&cache->list);
	free(cache);
	inode->extents = NULL;
}

static int load(struct inode *inode, uint64_t first, uint64_t end, size_t limit, struct extent_list *list)
{
	struct view *view = inode->view;
	int result;

	pthread_rwlock_rdlock(&view->epoch_lock);
	result = extents_load(view, inode->ino, first, end, limit, list);
	pthread_rwlock_unlock(&view->epoch_lock);
	return result;
}

/* Replaces the window by one that starts at or before `first`. */
static int fill(struct inode *inode, uint64_t first)
{
	struct extent_cache *old = inode->extents, *cache;
	uint64_t *total = &inode->view->tree->cached_extents;
	bool whole = inode->record.allocated <= WHOLE_BYTES;
	bool sequential = old && first >= old->first && first <= old->end + EXTENT_LEN_MAX;
	size_t limit = whole || sequential ? WINDOW_MAX : WINDOW_MIN;
	struct extent_list list = { 0 };
	int result;

	if (__atomic_load_n(total, __ATOMIC_RELAXED) > CACHED_MAX)
		limit = WINDOW_MIN;
	if (whole && limit == WINDOW_MAX && !old)
		first = 0;
	result = load(inode, first, UINT64_MAX, limit, &list);
	if (result < 0) {
		extent_list_clear(&list);
		return result;
	}
	extent_cache_drop(inode);
	cache = xcalloc(1, sizeof(*cache));
	cache->list = list;
	cache->first = first;
	cache->end = list.count < limit ? UINT64_MAX : extent_end(&list.items[list.count - 1]);
	inode->extents = cache;
	__atomic_add_fetch(total, list.count, __ATOMIC_RELAXED);
	return 0;
}

static bool has(const struct extent_cache *cache, uint64_t first, uint64_t end)
{
	return cache && first >= cache->first && end <= cache->end;
}

int extent_cache_load(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list)
{
	struct extent_cache *cache = inode->extents;
	size_t low = 0, high;

	if (inode->record.is_inline || inode->record.allocated == 0)
		return 0;
	if (!has(cache, first, end)) {
		int result = fill(inode, first);

		if (result < 0)
			return result;
		cache = inode->extents;
	}
	if (!has(cache, first, end))
		return load(inode, first, end, EXTENTS_ALL, list);
	high = cache->list.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (extent_end(&cache->list.items[middle]) > first)
			high = middle;
		else
			low = middle + 1;
	}
	for (; low < cache->list.count && cache->list.items[low].offset < end; low++)
		extent_list_add(list, &cache->list.items[low]);
	return 0;
}

static int add_length(void *arg, const struct extent *extent)
{
	*(uint64_t *)arg += extent->record.length;
	return 0;
}

int extent_cache_check_hole(struct inode *inode)
{
	struct extent_cache *cache = inode->extents;
	uint64_t sum = 0;
	int result = 0;

	if (inode->record.is_inline || inode->record.allocated == 0)
		return 0;
	if (cache && cache->holes_confirmed)
		return 0;
	if (cache && cache->first == 0 && cache->end == UINT64_MAX) {
		for (size_t i = 0; i < cache->list.count; i++)
			sum += cache->list.items[i].record.length;
	} else if (inode->record.allocated < inode->record.size) {
		return 0; /* a file with holes, too long to count at every read */
	} else {
		result = view_extents(inode->view, inode->ino, add_length, &sum);
	}
	if (result < 0 || sum != inode->record.allocated)
		return -EIO;
	if (cache)
		cache->holes_confirmed = true;
	return 0;
}
