/*
 * The walk that computes a tree's root node. Internal to lib/identity; identity.c has the argument for what it may take as known.
 *
 * Depth first with a stack of its own, a batch of entries at a time: memory follows the depth, not the size of directories.
 */
#ifndef CORPUSFS_IDENTITY_WALK_H
#define CORPUSFS_IDENTITY_WALK_H

#include "lib/identity/touched_set.h"

struct walk {
	struct node_source *source;
	struct touched_set *touched; /* NULL: the whole tree is walked */
	bool keep;               /* digests are stored: the view is a snapshot */
	uint32_t view;
	uint64_t epoch;          /* the last one of the line: what directories' digests are stored under */
	uint64_t directories, nodes; /* computed */
};

/*
 * The walk leaves the digests of directories in `directories`. The caller writes them when it knows that all are right: after a walk of a part,
 * only if touched_set_complete(). Digests of files are always right, and are written as they come. -ESTALE: the snapshot was destroyed meanwhile.
 */
WARN_UNUSED int walk_run(struct walk *walk, struct kv_batch *directories, uint8_t ret_root[NODE_LEN]);

#endif
