#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/format/record.h"

#define INTERVAL_LEN 16

void line_clear(struct line *line)
{
	array_clear(line);
}

struct line line_copy(const struct line *line)
{
	struct line copy = {0};

	array_append(&copy, line->items, line->count);
	return copy;
}

/* The first interval whose last epoch is at or above the given one; line->count if there is none. */
static size_t first_reaching(const struct line *line, uint64_t epoch)
{
	size_t low = 0, high = line->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (line->items[middle].last < epoch)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool line_has(const struct line *line, uint64_t epoch)
{
	size_t at = first_reaching(line, epoch);

	return at < line->count && line->items[at].first <= epoch;
}

void line_add(struct line *line, uint64_t first, uint64_t last)
{
	assert(first <= last);
	/* Intervals [from, to) touch or adjoin the new one, and become one with it. */
	size_t from = first_reaching(line, first > 0 ? first - 1 : 0);
	size_t to = from;

	while (to < line->count && (last == UINT64_MAX || line->items[to].first <= last + 1))
		to++;
	if (from == to) {
		array_insert(line, from, (struct interval){.first = first, .last = last});
		return;
	}
	line->items[from].first = MIN(first, line->items[from].first);
	line->items[from].last = MAX(last, line->items[to - 1].last);
	array_remove(line, from + 1, to - from - 1);
}

void line_encode(const struct line *line, struct buf *out)
{
	buf_add_le32(out, (uint32_t)line->count);
	for (size_t i = 0; i < line->count; i++) {
		buf_add_le64(out, line->items[i].first);
		buf_add_le64(out, line->items[i].last);
	}
}

int line_decode(struct reader *reader, struct line *ret_line)
{
	uint32_t count = read_le32(reader);
	struct line line = {0};

	if (reader->bad || count > reader->left / INTERVAL_LEN)
		return -EBADMSG;
	array_reserve(&line, count);
	for (size_t i = 0; i < count; i++) {
		struct interval *interval = array_new(&line);
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
	return a->count == 0 || memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0;
}

struct line line_minus(const struct line *a, const struct line *b)
{
	struct line rest = {0};
	size_t k = 0;

	for (size_t i = 0; i < a->count; i++) {
		uint64_t at = a->items[i].first, last = a->items[i].last;
		while (k < b->count && b->items[k].last < at)
			k++;
		for (size_t j = k; at <= last; j++) {
			if (j >= b->count || b->items[j].first > last) {
				line_add(&rest, at, last);
				break;
			}
			if (b->items[j].first > at)
				line_add(&rest, at, b->items[j].first - 1);
			at = b->items[j].last + 1;
		}
	}
	return rest;
}

void line_unite(struct line *sum, const struct line *line)
{
	for (size_t i = 0; i < line->count; i++)
		line_add(sum, line->items[i].first, line->items[i].last);
}

struct line line_between(const struct line *line, uint64_t first, uint64_t last)
{
	struct line part = {0};

	for (size_t i = first_reaching(line, first); i < line->count && line->items[i].first <= last; i++)
		line_add(&part, MAX(line->items[i].first, first), MIN(line->items[i].last, last));
	return part;
}
