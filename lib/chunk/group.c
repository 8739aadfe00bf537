#include "lib/chunk/group.h"

#include <assert.h>
#include <stdlib.h>

#include <utlist.h>

#include "lib/base/buf.h"

/* Runs longer than this many average pieces are cut by several threads. */
#define SEGMENT_PIECES 128

struct chunks_group *chunks_group_new(struct chunks *chunks)
{
	struct chunks_group *group = xcalloc(1, sizeof(*group));

	group->chunks = chunks;
	pthread_mutex_lock(&chunks->groups_lock);
	DL_APPEND(chunks->groups, group);
	pthread_mutex_unlock(&chunks->groups_lock);
	return group;
}

void chunks_group_free(struct chunks_group *group)
{
	if (!group)
		return;
	pthread_mutex_lock(&group->chunks->groups_lock);
	DL_DELETE(group->chunks->groups, group);
	pthread_mutex_unlock(&group->chunks->groups_lock);
	for (size_t i = 0; i < group->run_count; i++) {
		free(group->runs[i].ends.at);
		free(group->runs[i].pieces);
	}
	for (size_t i = 0; i < group->item_count; i++)
		free(group->items[i].packed);
	free(group->runs);
	free(group->items);
	free(group->slices);
	free(group->refers.at);
	free(group);
}

size_t chunks_group_add(struct chunks_group *group, const void *data, size_t len, int level)
{
	assert(!group->items);
	if (group->run_count == group->run_cap) {
		group->run_cap = MAX(group->run_cap * 2, 8);
		group->runs = xrealloc(group->runs, group->run_cap * sizeof(*group->runs));
	}
	group->runs[group->run_count] = (struct run){.data = data, .len = len, .level = level};
	return group->run_count++;
}

const struct chunk_piece *chunks_group_pieces(const struct chunks_group *group, size_t number, size_t *ret_count)
{
	const struct run *run = &group->runs[number];

	*ret_count = run->pieces ? run->ends.count : 0;
	return run->pieces;
}

void chunks_group_refer(struct chunks_group *group, uint64_t id)
{
	struct chunks *chunks = group->chunks;

	pthread_rwlock_rdlock(&chunks->gate);
	ends_add(&group->refers, id);
	if (chunks->mark)
		chunk_set_add(chunks->mark, id);
	pthread_rwlock_unlock(&chunks->gate);
}

void chunks_group_mark(const struct chunks_group *group, struct chunk_set *set)
{
	for (size_t i = 0; i < group->settled; i++)
		if (group->items[i].id)
			chunk_set_add(set, group->items[i].id);
	for (size_t i = 0; i < group->refers.count; i++)
		chunk_set_add(set, group->refers.at[i]);
}

struct chunks_group *chunks_group_next(const struct chunks_group *group)
{
	return group->next;
}

void ends_add(struct ends *ends, uint64_t value)
{
	if (ends->count == ends->cap) {
		ends->cap = MAX(ends->cap * 2, 16);
		ends->at = xrealloc(ends->at, ends->cap * sizeof(*ends->at));
	}
	ends->at[ends->count++] = value;
}

/*
 * Cutting in parallel. Where a piece ends depends only on where it starts, and cuts of one content, started at different places, soon fall
 * together. So each segment of a run is cut as if a piece began at its start, and then the segments are joined: from the last true cut on,
 * pieces are cut anew until one ends where a piece of the next segment does; from there on that segment's cuts are the true ones. The
 * result is the same as that of cutting from the start, always.
 */
struct segment {
	struct run *run;
	uint64_t from, to; /* the run's last segment ends with the run */
	struct ends ends;  /* the last one may lie beyond `to` */
};

struct cutting {
	const struct cut *cut;
	struct segment *segments;
	size_t count, cap;
};

static uint64_t end_after(const struct cut *cut, const struct run *run, uint64_t at)
{
	return at + cut_next(cut, run->data + at, run->len - at);
}

static void cut_segment(void *arg, size_t index)
{
	struct cutting *cutting = arg;
	struct segment *segment = &cutting->segments[index];

	for (uint64_t at = segment->from; at < segment->to;) {
		at = end_after(cutting->cut, segment->run, at);
		ends_add(&segment->ends, at);
	}
}

static void join_segment(const struct cut *cut, const struct segment *segment)
{
	struct ends *true_ends = &segment->run->ends;
	const struct ends *ends = &segment->ends;
	uint64_t at = true_ends->count ? true_ends->at[true_ends->count - 1] : 0;
	size_t next = 0;

	while (at < segment->to) {
		while (next < ends->count && ends->at[next] < at)
			next++;
		if (at != segment->from && ends->at[next] != at) {
			at = end_after(cut, segment->run, at);
			ends_add(true_ends, at);
			continue;
		}
		if (at != segment->from)
			next++;
		for (; next < ends->count; next++)
			ends_add(true_ends, ends->at[next]);
		break;
	}
}

static void add_segments(struct cutting *cutting, struct run *run)
{
	uint64_t segment_len = (uint64_t)cutting->cut->average * SEGMENT_PIECES;

	for (uint64_t from = 0; from < run->len; from += segment_len) {
		if (cutting->count == cutting->cap) {
			cutting->cap = MAX(cutting->cap * 2, 16);
			cutting->segments = xrealloc(cutting->segments, cutting->cap * sizeof(*cutting->segments));
		}
		cutting->segments[cutting->count++] =
			(struct segment){.run = run, .from = from, .to = MIN(from + segment_len, run->len)};
	}
}

void group_cut(struct chunks_group *group)
{
	struct cutting cutting = {.cut = &group->chunks->cut};

	for (size_t i = 0; i < group->run_count; i++) {
		struct run *run = &group->runs[i];

		if (run->len > cutting.cut->average)
			add_segments(&cutting, run);
		else if (run->len)
			ends_add(&run->ends, run->len);
	}
	pool_run(group->chunks->pool, cut_segment, &cutting, cutting.count);
	for (size_t i = 0; i < cutting.count; i++) {
		join_segment(cutting.cut, &cutting.segments[i]);
		free(cutting.segments[i].ends.at);
	}
	free(cutting.segments);
}
