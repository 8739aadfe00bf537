/*
 * The tree of epochs of one family, as far as living views go. Internal to lib/store, and to lib/reclaim, which reads it.
 *
 * An epoch continues the line of a head (I3) or of a snapshot (I4, I5), so the epochs of a family form a tree, and a line is the path from
 * its root to the line's last epoch. Of this tree only those nodes are kept where the line of a living view ends or where lines part; what
 * lies between two nodes is the lower one's `own`. So the tree has less than twice as many nodes as there are living views, and a view that
 * comes or goes changes one or two of them, however many there are.
 *
 *   root                          epoch 0, in no line
 *    |  own 1..4
 *   (4) snapshot a                L(a) = 1..4
 *    |  own 5..9
 *   (9) snapshot b                L(b) = 1..9; whatever was between a and b is destroyed
 *    |         \
 *    | own 10   \ own 11..12
 *   (10) head   (12) a clone of b
 *
 * Nodes without a view have two children or more; but the root. Caller holds the lock that guards the tree (catalog_lock).
 */
#ifndef CORPUSFS_STORE_LINEAGE_H
#define CORPUSFS_STORE_LINEAGE_H

#include <uthash.h>

#include "lib/format/record.h"

struct lineage;
struct lineage_node;

/* A living view's place in its family's tree; embedded in what the view belongs to. All zero: it has none. */
struct lineage_view {
	uint32_t view; /* its number */
	struct lineage_node *node;
	struct lineage_view *prev, *next; /* of those at the node */
};

struct lineage_node {
	uint64_t epoch;
	struct line own; /* epochs behind the parent's, up to this one */
	struct lineage_node *parent; /* NULL: the root */
	struct lineage_node *children, *prev, *next; /* prev, next: of the siblings */
	struct lineage_view *views; /* whose lines end here */
	UT_hash_handle hh; /* by epoch */
};

struct lineage *lineage_new(void);
/* The views' places are zeros afterwards; NULL is fine. */
void lineage_free(struct lineage *lineage);

/* For loading: views in any order. */
struct lineage_start {
	struct lineage_view *view;
	const struct line *line;
};
void lineage_load(struct lineage *lineage, struct lineage_start *starts, size_t count);

/* The view has the same line as the other. */
void lineage_join(struct lineage *lineage, struct lineage_view *view, const struct lineage_view *other);
/* The view has the other's line and a new epoch of its own; other NULL: nothing but that epoch. */
void lineage_branch(struct lineage *lineage, struct lineage_view *view, const struct lineage_view *other, uint64_t epoch);
/* The view's line has a new epoch, after those that it has. */
void lineage_advance(struct lineage *lineage, struct lineage_view *view, uint64_t epoch);
void lineage_leave(struct lineage *lineage, struct lineage_view *view); /* a view without a place is fine */

bool lineage_is_empty(const struct lineage *lineage);
/* The last epoch of the view's line that the line of another living view has, too; 0: none. All epochs before it in its line they share. */
uint64_t lineage_shared(const struct lineage_view *view);
/* Where the line ends that goes up to this epoch; NULL: no living view's line ends there, and none part there. */
const struct lineage_node *lineage_find(const struct lineage *lineage, uint64_t epoch);
const struct lineage_node *lineage_root(const struct lineage *lineage);
/* The next node in an order in which parents come before their children, and what is below a node right behind it; NULL: that was all. */
const struct lineage_node *lineage_next(const struct lineage_node *node);

/* Another number after every change. */
uint64_t lineage_generation(const struct lineage *lineage);

#endif
