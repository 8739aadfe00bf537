#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/format/record.h"

#define INTERVAL_LEN 16

void line_clear(struct line *line)
{
	free(line->intervals);
	*line = (struct line){0};
}

struct line line_copy(const struct line *line)
{
	struct line copy = {.count = line->count};

	if (line->count > 0) {
		copy.intervals = xcalloc(line->count, sizeof(*copy.intervals));
		memcpy(copy.intervals, line->intervals, line->count * sizeof(*copy.intervals));
	}
	return copy;
}

/* The first interval whose last epoch is at or above the given one; line->count if there is none. */
static uint32_t first_reaching(const struct line *line, uint64_t epoch)
{
	uint32_t low = 0, high = line->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (line->intervals[middle].last < epoch)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool line_has(const struct line *line, uint64_t epoch)
{
	uint32_t at = first_reaching(line, epoch);

	return at < line->count && line->intervals[at].first <= epoch;
}

void line_add(struct line *line, uint64_t first, uint64_t last)
{
	assert(first <= last);
	/* Intervals [from, to) touch or adjoin the new one, and become one with it. */
	uint32_t from = first_reaching(line, first > 0 ? first - 1 : 0);
	uint32_t to = from;

	while (to < line->count && (last == UINT64_MAX || line->intervals[to].first <= last + 1))
		to++;
	if (from < to) {
		first = MIN(first, line->intervals[from].first);
		last = MAX(last, line->intervals[to - 1].last);
	} else {
		line->intervals = xrealloc(line->intervals, ((size_t)line->count + 1) * sizeof(*line->intervals));
	}
	memmove(line->intervals + from + 1, line->intervals + to, (line->count - to) * sizeof(*line->intervals));
	line->intervals[from] = (struct interval){.first = first, .last = last};
	line->count = line->count + 1 - (to - from);
}

void line_encode(const struct line *line, struct buf *out)
{
	buf_add_le32(out, line->count);
	for (uint32_t i = 0; i < line->count; i++) {
		buf_add_le64(out, line->intervals[i].first);
		buf_add_le64(out, line->intervals[i].last);
	}
}

int line_decode(struct reader *reader, struct line *ret_line)
{
	struct line line = {.count = read_le32(reader)};

	if (reader->bad || line.count > reader->left / INTERVAL_LEN)
		return -EBADMSG;
	if (line.count > 0)
		line.intervals = xcalloc(line.count, sizeof(*line.intervals));
	for (uint32_t i = 0; i < line.count; i++) {
		struct interval *interval = &line.intervals[i];
		interval->first = read_le64(reader);
		interval->last = read_le64(reader);
		bool apart = i == 0 || (interval->first > interval[-1].last && interval->first - interval[-1].last > 1);
		if (interval->first > interval->last || !apart) {
			line_clear(&line);
			return -EBADMSG;
		}
	}
	*ret_line = line;
	return 0;
}

bool line_equal(const struct line *a, const struct line *b)
{
	if (a->count != b->count)
		return false;
	return a->count == 0 || memcmp(a->intervals, b->intervals, a->count * sizeof(*a->intervals)) == 0;
}

struct line line_minus(const struct line *a, const struct line *b)
{
	struct line rest = {0};
	uint32_t k = 0;

	for (uint32_t i = 0; i < a->count; i++) {
		uint64_t at = a->intervals[i].first, last = a->intervals[i].last;
		while (k < b->count && b->intervals[k].last < at)
			k++;
		for (uint32_t j = k; at <= last; j++) {
			if (j >= b->count || b->intervals[j].first > last) {
				line_add(&rest, at, last);
				break;
			}
			if (b->intervals[j].first > at)
				line_add(&rest, at, b->intervals[j].first - 1);
			at = b->intervals[j].last + 1;
		}
	}
	return rest;
}

void line_unite(struct line *sum, const struct line *line)
{
	for (uint32_t i = 0; i < line->count; i++)
		line_add(sum, line->intervals[i].first, line->intervals[i].last);
}
