/* Which versions are needed: the tree of epochs against every line looked at by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/reclaim/visibility.h"
#include "tests/unit/dataset_store.h"

#define VERSIONS 12

struct lines {
	ARRAY_FIELDS(struct line);
};

static struct lines living_lines(struct store *store)
{
	struct lines lines = {0};

	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		array_add(&lines, line_copy(&dataset->record.line));
		for (size_t i = 0; i < dataset->order.count; i++)
			array_add(&lines, line_copy(&dataset->order.items[i]->record.line));
	}
	return lines;
}

static void lines_clear(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		line_clear(&lines->items[i]);
	array_clear(lines);
}

static size_t seen_by(const struct line *line, const struct seen_version *versions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (line_has(line, versions[i].epoch))
			return i;
	return count;
}

/* PR1 and PR2 of prune.c, word for word. */
static void naive(const struct lines *lines, struct seen_version *versions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		versions[i].needed = false;
	for (size_t k = 0; k < lines->count; k++) {
		size_t seen = seen_by(&lines->items[k], versions, count);
		if (seen < count && !versions[seen].tombstone)
			versions[seen].needed = true;
	}
	for (size_t i = count; i-- > 0;) {
		for (size_t k = 0; versions[i].tombstone && k < lines->count; k++) {
			const struct line *line = &lines->items[k];
			size_t below = i + 1;
			if (seen_by(line, versions, count) != i)
				continue;
			while (below < count && !(versions[below].needed && line_has(line, versions[below].epoch)))
				below++;
			if (below < count && !versions[below].tombstone)
				versions[i].needed = true;
		}
	}
}

static const char *any(uint64_t *random, const char *const *names, size_t count)
{
	return names[next_random(random) % count];
}

/* Snapshots, clones, rollbacks and ends, by chance. */
static void change(struct store *store, uint64_t *random, unsigned step)
{
	static const char *const datasets[] = {"a", "b", "c", "d"};
	const char *dataset = any(random, datasets, ARRAY_SIZE(datasets)), *other = any(random, datasets, ARRAY_SIZE(datasets));
	struct dataset *found = catalog_dataset(store, dataset);
	char name[16], chosen[NAME_LEN_MAX + 1] = "";
	struct error err;

	if (found && found->order.count > 0)
		snprintf(chosen, sizeof(chosen), "%s", found->order.items[next_random(random) % found->order.count]->name);
	snprintf(name, sizeof(name), "s%u", step);
	switch (next_random(random) % 6) {
	case 0: (void)!dataset_clone(store, dataset, chosen, other, &err); return;
	case 1: (void)!dataset_rollback(store, dataset, chosen, next_random(random) % 2, NULL, &err); return;
	case 2:
	case 3: (void)!snapshot_destroy(store, dataset, chosen, &err); return;
	default: (void)!snapshot_create(store, &(struct snapshot_name){dataset, name}, 1, NULL, 0, &err); return;
	}
}

static size_t random_versions(uint64_t *random, uint64_t last_epoch, struct seen_version *versions)
{
	size_t count = 1 + next_random(random) % VERSIONS;
	uint64_t epoch = last_epoch + 1;
	size_t made = 0;

	for (; made < count && epoch > 1; made++) {
		epoch -= 1 + next_random(random) % MIN(epoch - 1, 4);
		versions[made] = (struct seen_version){.epoch = epoch, .tombstone = next_random(random) % 3 == 0};
	}
	return made;
}

static uint64_t last_epoch(const struct lines *lines)
{
	uint64_t last = 1;

	for (size_t i = 0; i < lines->count; i++)
		if (lines->items[i].count > 0)
			last = MAX(last, array_last(&lines->items[i])->last);
	return last;
}

static void check_versions(struct visibility *visibility, const struct lines *lines, uint64_t *random)
{
	struct seen_version versions[VERSIONS], expected[VERSIONS];

	for (unsigned i = 0; i < 200; i++) {
		size_t count = random_versions(random, last_epoch(lines), versions);
		memcpy(expected, versions, sizeof(versions));
		naive(lines, expected, count);
		visibility_versions(visibility, versions, count);
		for (size_t k = 0; k < count; k++)
			if (versions[k].needed != expected[k].needed)
				fail_msg("version of epoch %llu: %d and not %d", (unsigned long long)versions[k].epoch, versions[k].needed,
					 expected[k].needed);
	}
}

/* The scan for a destroyed line has what no living view has, and all that some living view, which shares its last common epoch, has beyond. */
static void check_scan(const struct visibility *visibility, const struct lines *lines, const struct line *destroyed)
{
	struct line scan = visibility_scan(visibility, destroyed), rest = line_minus(destroyed, visibility_epochs(visibility));
	struct line common = line_minus(destroyed, &rest), missing = line_minus(&rest, &scan);
	bool found = common.count == 0;

	assert_int_equal(missing.count, 0);
	for (size_t k = 0; k < lines->count && !found; k++) {
		struct line beyond = line_minus(&lines->items[k], destroyed), left = line_minus(&beyond, &scan);
		found = line_has(&lines->items[k], array_last(&common)->last) && left.count == 0;
		line_clear(&beyond);
		line_clear(&left);
	}
	assert_true(found);
	line_clear(&scan);
	line_clear(&rest);
	line_clear(&common);
	line_clear(&missing);
}

static void it_says_what_looking_at_every_line_says(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		uint64_t random = seed * 0x9e3779b97f4a7c15ULL;
		struct visibility *visibility;
		struct place place;
		uint32_t family;
		place_init(&place);
		assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 1, NULL), 0);
		family = catalog_dataset(place.store, "a")->record.family;
		visibility = visibility_new(place.store, family);
		for (unsigned step = 0; step < 80; step++) {
			change(place.store, &random, step);
			struct lines lines = living_lines(place.store);
			visibility_refresh(visibility);
			check_versions(visibility, &lines, &random);
			for (struct prune *prune = place.store->prunes; prune; prune = prune->hh.next)
				check_scan(visibility, &lines, &prune->record.line);
			lines_clear(&lines);
		}
		visibility_free(visibility);
		place_clear(&place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_what_looking_at_every_line_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
