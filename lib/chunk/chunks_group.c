#include "lib/chunk/chunks_group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/base/buf.h"

/* A segment has so many pieces of average length. */
#define SEGMENT_PIECES 64
/* One step of the pool is work on at least so many bytes. Each piece counts for some more. Hashing is faster with many pieces. */
#define SLICE_COST (256U << 10)
#define CUT_COST (2U << 20)
#define THING_COST 4096U

void slices_init(struct slices *slices, size_t most)
{
	*slices = (struct slices){.at = xcalloc(most + 1, sizeof(*slices->at)), .full = SLICE_COST};
}

void slices_add(struct slices *slices, uint64_t bytes)
{
	if (slices->count == 0 || slices->cost >= slices->full) {
		slices->count++;
		slices->at[slices->count] = slices->at[slices->count - 1];
		slices->cost = 0;
	}
	slices->at[slices->count]++;
	slices->cost += bytes + THING_COST;
}

struct chunks_group *chunks_group_new(struct chunks *chunks)
{
	struct chunks_group *group = xcalloc(1, sizeof(*group));

	group->chunks = chunks;
	mutex_take(&chunks->groups_lock);
	DL_APPEND(chunks->groups, group);
	mutex_give(&chunks->groups_lock);
	return group;
}

void chunks_group_free(struct chunks_group *group)
{
	if (!group)
		return;
	mutex_take(&group->chunks->groups_lock);
	DL_DELETE(group->chunks->groups, group);
	mutex_give(&group->chunks->groups_lock);
	for (size_t i = 0; i < group->runs.count; i++) {
		array_clear(&group->runs.items[i].cuts);
		free(group->runs.items[i].pieces);
	}
	for (size_t i = 0; i < group->item_count; i++)
		free(group->items[i].packed);
	array_clear(&group->runs);
	free(group->items);
	free(group->slices.at);
	free(group);
}

size_t chunks_group_add(struct chunks_group *group, const void *data, size_t len, int level)
{
	assert(!group->items);
	array_add(&group->runs, (struct run){.data = data, .len = len, .level = level});
	return group->runs.count - 1;
}

size_t chunks_group_add_whole(struct chunks_group *group, const void *data, size_t len, int level)
{
	size_t number = chunks_group_add(group, data, len, level);

	group->runs.items[number].is_whole = true;
	return number;
}

const struct chunk_piece *chunks_group_pieces(const struct chunks_group *group, size_t number, size_t *ret_count)
{
	const struct run *run = &group->runs.items[number];

	*ret_count = run->pieces ? run->cuts.count : 0;
	return run->pieces;
}

void chunks_group_mark(const struct chunks_group *group, struct chunk_set *set)
{
	for (size_t i = 0; i < group->settled; i++)
		if (group->items[i].id)
			chunk_set_add(set, group->items[i].id);
}

/*
 * Cutting and hashing in parallel. The pieces of a step are hashed as soon as they are cut, while they are in the core's cache.
 *
 * A long run is divided into segments, and each segment is cut as if a piece began at its start. Then the segments are joined. Where a piece
 * ends depends only on where it starts, and cuts that began at different places soon coincide. So pieces are cut anew from the last true cut
 * on, until one ends where a piece of the next segment ends: from there on the cuts of that segment are the true ones. The result is always
 * that of cutting the run from its start.
 */
struct segment {
	struct run *run;
	uint64_t from, to; /* the run's last segment ends with the run */
	struct cuts cuts;  /* the last one may end beyond `to` */
};

struct jobs {
	ARRAY_FIELDS(struct digest_job);
};

struct cutting {
	struct chunks *chunks;
	ARRAY(struct segment) segments;
	struct slices slices; /* of the segments */
};

/* Cuts the piece of the run that starts at `at`; returns it. */
static struct cut_piece *cuts_add(struct cuts *cuts, const struct chunks *chunks, const struct run *run, uint64_t at)
{
	bool is_cut = run->len > chunks->cut.average && !run->is_whole;
	size_t left = run->len - at, len = is_cut ? cut_next(&chunks->cut, run->data + at, left) : left;
	struct cut_piece *piece;

	if (!cuts->items)
		array_reserve(cuts, run->len / chunks->cut.average + 1);
	piece = array_new(cuts);
	piece->end = at + len;
	return piece;
}

static void add_jobs(struct segment *segment, struct jobs *jobs)
{
	uint64_t at = segment->from;

	for (size_t i = 0; i < segment->cuts.count; i++) {
		struct cut_piece *piece = &segment->cuts.items[i];

		array_add(jobs, (struct digest_job){.data = segment->run->data + at, .len = piece->end - at, .sha256 = piece->sha256});
		at = piece->end;
	}
}

/* Many at once are hashed in half the time. */
static void hash_segments(struct digest *digest, struct segment *segments, size_t count)
{
	AUTO_ARRAY struct digest_job **order = NULL;
	struct jobs jobs = {0};

	for (size_t i = 0; i < count; i++)
		add_jobs(&segments[i], &jobs);
	order = xcalloc(jobs.count, sizeof(struct digest_job *));
	for (size_t i = 0; i < jobs.count; i++)
		order[i] = &jobs.items[i];
	digest_many(digest, order, jobs.count);
	array_clear(&jobs);
}

static void cut_step(void *arg, size_t index)
{
	struct cutting *cutting = arg;
	const size_t first = cutting->slices.at[index], end = cutting->slices.at[index + 1];
	struct scratch *tools = scratch_take(cutting->chunks->scratch);

	for (size_t i = first; i < end; i++) {
		struct segment *segment = &cutting->segments.items[i];

		for (uint64_t at = segment->from; at < segment->to;)
			at = cuts_add(&segment->cuts, cutting->chunks, segment->run, at)->end;
	}
	hash_segments(tools->digest, &cutting->segments.items[first], end - first);
	scratch_put(cutting->chunks->scratch, tools);
}

static void join_segment(const struct chunks *chunks, struct digest *digest, struct segment *segment)
{
	struct cuts *joined = &segment->run->cuts;
	const struct cuts *cuts = &segment->cuts;
	uint64_t at = joined->count ? array_last(joined)->end : 0;
	size_t next = 0;

	if (segment->from == 0) {
		*joined = segment->cuts;
		segment->cuts = (struct cuts){0};
		return;
	}
	while (at < segment->to) {
		while (next < cuts->count && cuts->items[next].end < at)
			next++;
		if (at == segment->from || cuts->items[next].end == at) {
			next += at != segment->from;
			array_append(joined, cuts->items + next, cuts->count - next);
			break;
		}
		struct cut_piece *piece = cuts_add(joined, chunks, segment->run, at);

		digest_once(digest, segment->run->data + at, piece->end - at, piece->sha256);
		at = piece->end;
	}
}

static void add_segments(struct cutting *cutting, struct run *run)
{
	uint64_t segment_len = run->is_whole ? run->len : (uint64_t)cutting->chunks->cut.average * SEGMENT_PIECES;

	for (uint64_t from = 0; from < run->len; from += segment_len)
		array_add(&cutting->segments, (struct segment){.run = run, .from = from, .to = MIN(from + segment_len, run->len)});
}

void group_cut(struct chunks_group *group)
{
	struct cutting cutting = {.chunks = group->chunks};
	struct scratch *tools;

	for (size_t i = 0; i < group->runs.count; i++)
		add_segments(&cutting, &group->runs.items[i]);
	slices_init(&cutting.slices, cutting.segments.count);
	cutting.slices.full = CUT_COST;
	for (size_t i = 0; i < cutting.segments.count; i++)
		slices_add(&cutting.slices, cutting.segments.items[i].to - cutting.segments.items[i].from);
	pool_run(group->chunks->pool, cut_step, &cutting, cutting.slices.count);
	tools = scratch_take(group->chunks->scratch);
	for (size_t i = 0; i < cutting.segments.count; i++) {
		join_segment(group->chunks, tools->digest, &cutting.segments.items[i]);
		array_clear(&cutting.segments.items[i].cuts);
	}
	scratch_put(group->chunks->scratch, tools);
	free(cutting.slices.at);
	array_clear(&cutting.segments);
}
