#include "lib/reclaim/visibility.h"

#include <stdlib.h>

#include "lib/base/array.h"

#define NONE SIZE_MAX

/* A node of the family's tree, with the numbers [low, high) of the views that have its epochs in their lines. */
struct part {
	size_t low, high;
	size_t parent;       /* NONE: the root */
	uint64_t epoch;      /* the node's own last */
	struct line own;
	size_t nearest;      /* the part, in or below this, at which a view's line ends with the fewest epochs in between */
	uint64_t distance;   /* so many */
};

/* Epochs of one part. Spans do not overlap. */
struct span {
	uint64_t first, last;
	size_t part;
};

/* A version while versions are compared. */
struct ranked {
	struct seen_version *version;
	size_t low, high;
	size_t parent; /* the next older version that all of them have in their lines, too; NONE */
	size_t seen_by; /* so many views see just this version */
};

struct visibility {
	struct store *store;
	uint32_t family;
	bool is_made;
	uint64_t generation;
	ARRAY(struct part) parts; /* parents come first */
	ARRAY(struct span) spans; /* by epochs */
	struct line all;
	ARRAY(struct ranked) ranked;
};

/* --- making --- */

static void forget(struct visibility *visibility)
{
	for (size_t i = 0; i < visibility->parts.count; i++)
		line_clear(&visibility->parts.items[i].own);
	array_reset(&visibility->parts);
	array_reset(&visibility->spans);
	line_clear(&visibility->all);
}

static size_t count_views(const struct lineage_node *node)
{
	size_t count = 0;

	for (const struct lineage_view *view = node->views; view; view = view->next)
		count++;
	return count;
}

static uint64_t line_size(const struct line *line)
{
	uint64_t size = 0;

	for (size_t i = 0; i < line->count; i++)
		size += line->items[i].last - line->items[i].first + 1;
	return size;
}

/* The tree as an array. Numbers are given to the views of a node before those of its children. */
static void copy_tree(struct visibility *visibility, const struct lineage *lineage)
{
	const struct lineage_node *above = NULL;
	size_t numbers = 0, at = NONE;

	for (const struct lineage_node *node = lineage_root(lineage); node; node = lineage_next(node)) {
		/* `at` is the part of `above`; the path back to the node's parent. */
		for (; above && above != node->parent; above = above->parent)
			at = visibility->parts.items[at].parent;
		struct part part = {.low = numbers, .parent = at, .epoch = node->epoch, .own = line_copy(&node->own), .nearest = NONE};
		part.high = numbers += count_views(node);
		at = visibility->parts.count;
		if (node->views)
			part.nearest = at;
		array_add(&visibility->parts, part);
		above = node;
	}
}

/* From the leaves up: a part has the numbers of those below it, too, and the nearest of their views. */
static void sum_up(struct visibility *visibility)
{
	struct part *parts = visibility->parts.items;

	for (size_t i = visibility->parts.count; i-- > 1;) {
		const struct part *part = &parts[i];
		struct part *parent = &parts[part->parent];
		uint64_t distance = part->distance + line_size(&part->own);
		parent->high = MAX(parent->high, part->high);
		if (part->nearest != NONE && (parent->nearest == NONE || distance < parent->distance)) {
			parent->nearest = part->nearest;
			parent->distance = distance;
		}
	}
}

static int by_first(const void *a, const void *b)
{
	uint64_t left = ((const struct span *)a)->first, right = ((const struct span *)b)->first;

	return left < right ? -1 : left > right;
}

static void make_spans(struct visibility *visibility)
{
	for (size_t i = 0; i < visibility->parts.count; i++) {
		const struct line *own = &visibility->parts.items[i].own;
		for (size_t k = 0; k < own->count; k++)
			array_add(&visibility->spans, (struct span){.first = own->items[k].first, .last = own->items[k].last, .part = i});
	}
	if (visibility->spans.count > 0)
		qsort(visibility->spans.items, visibility->spans.count, sizeof(struct span), by_first);
	for (size_t i = 0; i < visibility->spans.count; i++)
		line_add(&visibility->all, visibility->spans.items[i].first, visibility->spans.items[i].last);
}

void visibility_refresh(struct visibility *visibility)
{
	struct store *store = visibility->store;

	mutex_take(&store->catalog_lock);
	const struct family_views *family = catalog_family(store, visibility->family);
	/* A family without views never has any again. */
	uint64_t generation = family ? lineage_generation(family->lineage) : UINT64_MAX;
	bool is_fresh = visibility->is_made && visibility->generation == generation;
	if (!is_fresh) {
		forget(visibility);
		if (family)
			copy_tree(visibility, family->lineage);
	}
	mutex_give(&store->catalog_lock);
	if (is_fresh)
		return;
	sum_up(visibility);
	make_spans(visibility);
	visibility->generation = generation;
	visibility->is_made = true;
}

struct visibility *visibility_new(struct store *store, uint32_t family)
{
	struct visibility *visibility = xcalloc(1, sizeof(*visibility));

	visibility->store = store;
	visibility->family = family;
	visibility_refresh(visibility);
	return visibility;
}

void visibility_free(struct visibility *visibility)
{
	if (!visibility)
		return;
	forget(visibility);
	array_clear(&visibility->parts);
	array_clear(&visibility->spans);
	array_clear(&visibility->ranked);
	free(visibility);
}

uint32_t visibility_family(const struct visibility *visibility)
{
	return visibility->family;
}

const struct line *visibility_epochs(const struct visibility *visibility)
{
	return &visibility->all;
}

/* --- versions --- */

/* The part that has the epoch among its own; NULL: no living view has it in its line. */
static const struct part *part_of(const struct visibility *visibility, uint64_t epoch)
{
	const struct span *spans = visibility->spans.items;
	size_t low = 0, high = visibility->spans.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (spans[middle].last < epoch)
			low = middle + 1;
		else
			high = middle;
	}
	return low < visibility->spans.count && spans[low].first <= epoch ? &visibility->parts.items[spans[low].part] : NULL;
}

/* A range before those that lie in it; of two equal ones that of the older version. */
static int in_tree_order(const void *a, const void *b)
{
	const struct ranked *left = a, *right = b;

	if (left->low != right->low)
		return left->low < right->low ? -1 : 1;
	if (left->high != right->high)
		return left->high > right->high ? -1 : 1;
	return left->version->epoch < right->version->epoch ? -1 : left->version->epoch > right->version->epoch;
}

/* Those that somebody has in a line. */
static void rank(struct visibility *visibility, struct seen_version *versions, size_t count)
{
	array_reset(&visibility->ranked);
	for (size_t i = 0; i < count; i++) {
		const struct part *part = part_of(visibility, versions[i].epoch);
		versions[i].needed = false;
		if (part)
			array_add(&visibility->ranked, (struct ranked){.version = &versions[i], .low = part->low, .high = part->high});
	}
	if (visibility->ranked.count > 0)
		qsort(visibility->ranked.items, visibility->ranked.count, sizeof(struct ranked), in_tree_order);
}

/* Who has a version in the line sees it, but for those who have a newer one, too. */
static void count_seeing(struct visibility *visibility)
{
	struct ranked *ranked = visibility->ranked.items;
	size_t top = NONE;

	for (size_t i = 0; i < visibility->ranked.count; i++) {
		while (top != NONE && ranked[top].high <= ranked[i].low)
			top = ranked[top].parent;
		ranked[i].parent = top;
		ranked[i].seen_by = ranked[i].high - ranked[i].low;
		if (top != NONE)
			ranked[top].seen_by -= ranked[i].seen_by;
		top = i;
	}
}

/* Would those who see the tombstone see a value without it? Which of the older versions are needed is known. */
static bool hides_value(const struct ranked *ranked, size_t at)
{
	size_t below = ranked[at].parent;

	while (below != NONE && !ranked[below].version->needed)
		below = ranked[below].parent;
	return below != NONE && !ranked[below].version->tombstone;
}

void visibility_versions(struct visibility *visibility, struct seen_version *versions, size_t count)
{
	struct ranked *ranked;

	if (count == 1) { /* nearly all records */
		versions[0].needed = !versions[0].tombstone && part_of(visibility, versions[0].epoch);
		return;
	}
	rank(visibility, versions, count);
	count_seeing(visibility);
	ranked = visibility->ranked.items;
	for (size_t i = 0; i < visibility->ranked.count; i++)
		ranked[i].version->needed = ranked[i].seen_by > 0 && !ranked[i].version->tombstone;
	for (size_t i = 0; i < visibility->ranked.count; i++)
		if (ranked[i].version->tombstone)
			ranked[i].version->needed = ranked[i].seen_by > 0 && hides_value(ranked, i);
}

/* --- where to look --- */

/* The last epoch of the line that a living view has, and the part that has it. */
static const struct part *last_common(const struct visibility *visibility, const struct line *line, uint64_t *ret_epoch)
{
	struct line rest = line_minus(line, &visibility->all), common = line_minus(line, &rest);
	const struct part *part = NULL;

	if (common.count > 0) {
		*ret_epoch = array_last(&common)->last;
		part = part_of(visibility, *ret_epoch);
	}
	line_clear(&rest);
	line_clear(&common);
	return part;
}

struct line visibility_scan(const struct visibility *visibility, const struct line *destroyed)
{
	struct line scan = line_minus(destroyed, &visibility->all);
	uint64_t common;
	const struct part *parts = visibility->parts.items, *part = last_common(visibility, destroyed, &common);

	/* From the nearest view up to the part, of whose epochs the destroyed view has the first. */
	for (const struct part *at = part ? &parts[part->nearest] : NULL; at; at = at == part ? NULL : &parts[at->parent]) {
		struct line beyond = at == part ? line_between(&at->own, common + 1, UINT64_MAX) : line_copy(&at->own);
		line_unite(&scan, &beyond);
		line_clear(&beyond);
	}
	return scan;
}
