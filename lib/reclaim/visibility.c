#include "lib/reclaim/visibility.h"

#include <string.h>

#define NONE SIZE_MAX

void visibility_add(struct visibility *visibility, const struct line *line)
{
	if (visibility->count == visibility->cap) {
		visibility->cap = MAX(visibility->cap * 2, 16U);
		visibility->lines = xrealloc(visibility->lines, visibility->cap * sizeof(*visibility->lines));
	}
	visibility->lines[visibility->count++] = line_copy(line);
	line_unite(&visibility->all, line);
}

static void add_line(void *visibility, const struct line *line)
{
	visibility_add(visibility, line);
}

struct visibility *visibility_new(struct store *store, uint32_t family)
{
	struct visibility *visibility = xcalloc(1, sizeof(*visibility));

	visibility->family = family;
	mutex_take(&store->catalog_lock);
	catalog_each_line(store, family, 0, add_line, visibility);
	mutex_give(&store->catalog_lock);
	return visibility;
}

void visibility_free(struct visibility *visibility)
{
	if (!visibility)
		return;
	for (size_t i = 0; i < visibility->count; i++)
		line_clear(&visibility->lines[i]);
	free(visibility->lines);
	line_clear(&visibility->all);
	free(visibility);
}

/* The first version that the line holds: what it sees. */
static size_t seen_by(const struct line *line, const struct seen_version *versions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (line_has(line, versions[i].epoch))
			return i;
	return NONE;
}

/* Would the line, without its tombstone at `at`, see a value that is kept? */
static bool hides_value(const struct line *line, const struct seen_version *versions, size_t count, size_t at)
{
	for (size_t i = at + 1; i < count; i++)
		if (versions[i].needed && line_has(line, versions[i].epoch))
			return !versions[i].tombstone;
	return false;
}

void visibility_versions(const struct visibility *visibility, struct seen_version *versions, size_t count)
{
	if (count == 1) { /* nearly all keys */
		versions[0].needed = !versions[0].tombstone && line_has(&visibility->all, versions[0].epoch);
		return;
	}
	AUTO_FREE size_t *seen = xcalloc(MAX(visibility->count, 1U), sizeof(*seen));
	for (size_t i = 0; i < count; i++)
		versions[i].needed = false;
	for (size_t k = 0; k < visibility->count; k++) {
		seen[k] = seen_by(&visibility->lines[k], versions, count);
		if (seen[k] != NONE && !versions[seen[k]].tombstone)
			versions[seen[k]].needed = true;
	}
	/* The oldest tombstones first: what is kept below one must be known. */
	for (size_t i = count; i-- > 0;) {
		for (size_t k = 0; versions[i].tombstone && !versions[i].needed && k < visibility->count; k++)
			if (seen[k] == i && hides_value(&visibility->lines[k], versions, count, i))
				versions[i].needed = true;
	}
}
