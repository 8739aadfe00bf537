#include "lib/tree/inodes/allocated.h"

#include "lib/tree/inodes/extent_cache.h"

/* Bytes of [first, end) that nothing committed has. */
static int count_unmapped(struct inode *inode, uint64_t first, uint64_t end, uint64_t *sum)
{
	struct extent_list list = { 0 };
	int result = extent_cache_load(inode, first, end, &list);

	*sum += end - first;
	for (size_t i = 0; i < list.count; i++)
		*sum -= MIN(extent_end(&list.items[i]), end) - MAX(list.items[i].offset, first);
	array_clear(&list);
	return result;
}

/* The same, without what `lower` has buffered. */
static int count_below(struct inode *inode, const struct dirty *lower, uint64_t offset, uint64_t len, uint64_t *sum)
{
	struct ranges gaps = { 0 };
	int result = 0;

	dirty_gaps(lower, offset, offset + len, &gaps);
	for (size_t i = 0; i < gaps.count && result == 0; i++) {
		uint64_t first = MAX(gaps.items[i].first, inode->inline_data.len), end = gaps.items[i].end;

		result = first < end ? count_unmapped(inode, first, end, sum) : 0;
	}
	array_clear(&gaps);
	return result;
}

/* The same for what is buffered in `upper`. */
static int count_segments(struct inode *inode, const struct dirty *upper, const struct dirty *lower, uint64_t *sum)
{
	int result = 0;

	for (size_t i = 0; i < upper->segments.count && result == 0; i++)
		result = count_below(inode, lower, upper->segments.items[i].offset, upper->segments.items[i].len, sum);
	return result;
}

uint64_t allocated_after_commit(struct inode *inode)
{
	static const struct dirty nothing;
	uint64_t sum = inode->record.allocated, buffered = inode->active.bytes + inode->frozen.bytes;
	int result;

	if (buffered == 0)
		return sum;
	/* it is stored within the record then, as a whole */
	if (inode->size <= INLINE_MAX && (inode->record.is_inline || inode->record.allocated == 0))
		return inode->size;
	result = count_segments(inode, &inode->frozen, &nothing, &sum);
	if (result == 0)
		result = count_segments(inode, &inode->active, &inode->frozen, &sum);
	/* extents that cannot be read: about as much */
	return result == 0 ? sum : MIN(inode->record.allocated + buffered, inode->size);
}

uint64_t allocated_growth(struct inode *inode, uint64_t offset, uint64_t len)
{
	bool is_small = inode->record.is_inline || inode->record.allocated == 0;
	struct ranges gaps = { 0 };
	uint64_t sum = 0;
	int result = 0;

	if (is_small && MAX(inode->size, offset + len) <= INLINE_MAX)
		return MAX(inode->size, offset + len) - inode->size;
	dirty_gaps(&inode->active, offset, offset + len, &gaps);
	for (size_t i = 0; i < gaps.count && result == 0; i++)
		result = count_below(inode, &inode->frozen, gaps.items[i].first, gaps.items[i].end - gaps.items[i].first, &sum);
	array_clear(&gaps);
	return result == 0 ? sum : len;
}
