/*
 * The files and directories that somebody has looked up and not forgotten: each has a number, which means the same as long as it is known. It is
 * found again by where it stands, so that a name that is looked up twice is one node.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_NODES_H
#define CORPUSFS_BROWSE_BROWSE_NODES_H

#include "lib/base/array.h"
#include "lib/repository/blob_id.h"

#define BROWSE_NODES_FIRST (1ULL << 40) /* numbers of nodes begin here */

/* Where a node stands, and what it is. */
struct browse_place {
	struct blob_id tree; /* that it is in */
	uint64_t position;   /* in it */
	uint64_t ino;        /* st_ino */
	uint64_t parent;       /* the directory's number; set by browse_nodes_get */
	uint32_t backup;
	bool is_dir;
	struct blob_id subtree; /* of a directory */
};

struct browse_nodes;
struct browse_nodes *browse_nodes_new(void);
void browse_nodes_free(struct browse_nodes *nodes); /* NULL is fine */

/* The number of what stands at `place` in the directory `parent`, looked up once more. */
uint64_t browse_nodes_take(struct browse_nodes *nodes, uint64_t parent, const struct browse_place *place);
void browse_nodes_forget(struct browse_nodes *nodes, uint64_t id, uint64_t lookups);
/* -ESTALE: it is not known. */
WARN_UNUSED int browse_nodes_get(struct browse_nodes *nodes, uint64_t id, struct browse_place *ret_place);
/* The positions of all that are known in a directory. The array is the caller's to clear. */
struct browse_positions {
	ARRAY_FIELDS(uint64_t);
};
void browse_nodes_in(struct browse_nodes *nodes, uint64_t parent, struct browse_positions *ret_positions);
size_t browse_nodes_count(struct browse_nodes *nodes);

#endif
