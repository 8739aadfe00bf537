#include "lib/store/lineage.h"

#include <stdlib.h>
#include <utlist.h>

struct lineage {
	struct lineage_node root;
	struct lineage_node *nodes; /* uthash: all but the root */
	uint64_t generation;
};

struct lineage *lineage_new(void)
{
	return xcalloc(1, sizeof(struct lineage));
}

void lineage_free(struct lineage *lineage)
{
	struct lineage_node *node, *next;
	struct lineage_view *view, *next_view;

	if (!lineage)
		return;
	HASH_ITER (hh, lineage->nodes, node, next) {
		DL_FOREACH_SAFE (node->views, view, next_view)
			*view = (struct lineage_view){0};
		HASH_DEL(lineage->nodes, node);
		line_clear(&node->own);
		free(node);
	}
	free(lineage);
}

/* --- nodes --- */

/* Takes over `own`. */
static struct lineage_node *add_child(struct lineage *lineage, struct lineage_node *parent, uint64_t epoch, struct line own)
{
	struct lineage_node *node = xcalloc(1, sizeof(*node));

	node->epoch = epoch;
	node->own = own;
	node->parent = parent;
	DL_APPEND(parent->children, node);
	HASH_ADD(hh, lineage->nodes, epoch, sizeof(node->epoch), node);
	return node;
}

static void remove_node(struct lineage *lineage, struct lineage_node *node)
{
	DL_DELETE(node->parent->children, node);
	HASH_DEL(lineage->nodes, node);
	line_clear(&node->own);
	free(node);
}

/* A node that no view needs goes: with what is above it, as long as that has no other purpose, or by making its only child its parent's. */
static void tidy(struct lineage *lineage, struct lineage_node *node)
{
	while (node->parent && !node->views && !node->children) {
		struct lineage_node *parent = node->parent;
		remove_node(lineage, node);
		node = parent;
	}
	if (!node->parent || node->views || node->children->next)
		return;
	struct lineage_node *child = node->children;
	DL_DELETE(node->children, child);
	line_unite(&child->own, &node->own);
	child->parent = node->parent;
	DL_APPEND(node->parent->children, child);
	remove_node(lineage, node);
}

/* A node at `epoch`, which is among the node's own. */
static struct lineage_node *split(struct lineage *lineage, struct lineage_node *node, uint64_t epoch)
{
	struct lineage_node *above = add_child(lineage, node->parent, epoch, line_between(&node->own, 0, epoch));
	struct line rest = line_between(&node->own, epoch + 1, UINT64_MAX);

	DL_DELETE(node->parent->children, node);
	line_clear(&node->own);
	node->own = rest;
	node->parent = above;
	DL_APPEND(above->children, node);
	return above;
}

static void place(struct lineage *lineage, struct lineage_view *view, struct lineage_node *node)
{
	view->node = node;
	DL_APPEND(node->views, view);
	lineage->generation++;
}

/* --- loading --- */

/* Lines in the order of the epochs that they consist of, a line before those that continue it; *ret_common: the last epoch of both. */
static int compare_lines(const struct line *a, const struct line *b, uint64_t *ret_common)
{
	*ret_common = 0;
	for (size_t i = 0; i < MIN(a->count, b->count); i++) {
		const struct interval *in_a = &a->items[i], *in_b = &b->items[i];
		if (in_a->first != in_b->first)
			return in_a->first < in_b->first ? -1 : 1;
		*ret_common = MIN(in_a->last, in_b->last);
		/* The longer interval goes on with the next epoch, the other line with a later one, if at all. */
		if (in_a->last < in_b->last)
			return i + 1 == a->count ? -1 : 1;
		if (in_a->last > in_b->last)
			return i + 1 == b->count ? 1 : -1;
	}
	return a->count < b->count ? -1 : a->count > b->count;
}

static int in_order(const void *a, const void *b)
{
	uint64_t common;

	return compare_lines(((const struct lineage_start *)a)->line, ((const struct lineage_start *)b)->line, &common);
}

/* In order, what a line shares with those before it, it shares with the one right before it: with the path to `last`. */
static struct lineage_node *add_line(struct lineage *lineage, struct lineage_node *last, uint64_t common, const struct line *line)
{
	uint64_t end = line->count > 0 ? line->items[line->count - 1].last : 0;
	struct lineage_node *node = last, *below = NULL;

	while (node->epoch > common) {
		below = node;
		node = node->parent;
	}
	if (node->epoch < common)
		node = split(lineage, below, common);
	return end > node->epoch ? add_child(lineage, node, end, line_between(line, node->epoch + 1, end)) : node;
}

void lineage_load(struct lineage *lineage, struct lineage_start *starts, size_t count)
{
	struct lineage_node *last = &lineage->root;

	qsort(starts, count, sizeof(*starts), in_order);
	for (size_t i = 0; i < count; i++) {
		uint64_t common = 0;
		if (i > 0)
			(void)compare_lines(starts[i - 1].line, starts[i].line, &common);
		last = add_line(lineage, last, common, starts[i].line);
		place(lineage, starts[i].view, last);
	}
}

/* --- changing --- */

void lineage_join(struct lineage *lineage, struct lineage_view *view, const struct lineage_view *other)
{
	place(lineage, view, other->node);
}

void lineage_branch(struct lineage *lineage, struct lineage_view *view, const struct lineage_view *other, uint64_t epoch)
{
	struct line own = {0};

	line_add(&own, epoch, epoch);
	place(lineage, view, add_child(lineage, other ? other->node : &lineage->root, epoch, own));
}

void lineage_advance(struct lineage *lineage, struct lineage_view *view, uint64_t epoch)
{
	const struct lineage_view from = *view;

	DL_DELETE(from.node->views, view);
	lineage_branch(lineage, view, &from, epoch);
	tidy(lineage, from.node);
}

void lineage_leave(struct lineage *lineage, struct lineage_view *view)
{
	struct lineage_node *node = view->node;

	if (!node)
		return;
	DL_DELETE(node->views, view);
	view->node = NULL;
	tidy(lineage, node);
	lineage->generation++;
}

/* --- looking --- */

bool lineage_is_empty(const struct lineage *lineage)
{
	return !lineage->root.children && !lineage->root.views;
}

uint64_t lineage_shared(const struct lineage_view *view)
{
	const struct lineage_node *node = view->node;

	if (!node)
		return 0;
	return node->children || node->views->next || !node->parent ? node->epoch : node->parent->epoch;
}

const struct lineage_node *lineage_find(const struct lineage *lineage, uint64_t epoch)
{
	struct lineage_node *node;

	HASH_FIND(hh, lineage->nodes, &epoch, sizeof(epoch), node);
	return node;
}

const struct lineage_node *lineage_root(const struct lineage *lineage)
{
	return &lineage->root;
}

const struct lineage_node *lineage_next(const struct lineage_node *node)
{
	if (node->children)
		return node->children;
	while (node->parent && !node->next)
		node = node->parent;
	return node->next;
}

uint64_t lineage_generation(const struct lineage *lineage)
{
	return lineage->generation;
}
