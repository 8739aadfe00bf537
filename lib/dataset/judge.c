#include "lib/dataset/judge.h"

#include <string.h>

#define NONE SIZE_MAX

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

void judge_add(struct judge *judge, const struct line *line)
{
	if (judge->count == judge->cap) {
		judge->cap = MAX(judge->cap * 2, 16U);
		judge->lines = xrealloc(judge->lines, judge->cap * sizeof(*judge->lines));
	}
	judge->lines[judge->count++] = line_copy(line);
	line_unite(&judge->all, line);
}

static void add_line(void *judge, const struct line *line)
{
	judge_add(judge, line);
}

struct judge *judge_new(struct store *store, uint32_t family)
{
	struct judge *judge = xcalloc(1, sizeof(*judge));

	judge->family = family;
	pthread_mutex_lock(&store->catalog_lock);
	catalog_each_line(store, family, 0, add_line, judge);
	pthread_mutex_unlock(&store->catalog_lock);
	return judge;
}

void judge_free(struct judge *judge)
{
	if (!judge)
		return;
	for (size_t i = 0; i < judge->count; i++)
		line_clear(&judge->lines[i]);
	free(judge->lines);
	line_clear(&judge->all);
	free(judge);
}

/* The first version that the line holds: what it sees. */
static size_t seen_by(const struct line *line, const struct judged *versions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (line_has(line, versions[i].epoch))
			return i;
	return NONE;
}

/* Would the line, without its tombstone at `at`, see a value that is kept? */
static bool hides_value(const struct line *line, const struct judged *versions, size_t count, size_t at)
{
	for (size_t i = at + 1; i < count; i++)
		if (versions[i].needed && line_has(line, versions[i].epoch))
			return !versions[i].tombstone;
	return false;
}

void judge_versions(const struct judge *judge, struct judged *versions, size_t count)
{
	if (count == 1) { /* nearly all keys */
		versions[0].needed = !versions[0].tombstone && line_has(&judge->all, versions[0].epoch);
		return;
	}
	AUTO_FREE size_t *seen = xcalloc(MAX(judge->count, 1U), sizeof(*seen));
	for (size_t i = 0; i < count; i++)
		versions[i].needed = false;
	for (size_t k = 0; k < judge->count; k++) {
		seen[k] = seen_by(&judge->lines[k], versions, count);
		if (seen[k] != NONE && !versions[seen[k]].tombstone)
			versions[seen[k]].needed = true;
	}
	/* The oldest tombstones first: what is kept below one must be known. */
	for (size_t i = count; i-- > 0;) {
		for (size_t k = 0; versions[i].tombstone && !versions[i].needed && k < judge->count; k++)
			if (seen[k] == i && hides_value(&judge->lines[k], versions, count, i))
				versions[i].needed = true;
	}
}
