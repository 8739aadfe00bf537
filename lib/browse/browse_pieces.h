/*
 * The pieces of a large directory (lib/backup/large_trees.h), made of blobs: their list, and each of them as a directory of its own, whose positions begin
 * at 0.
 *
 * Not changed once made. Threads: any.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_PIECES_H
#define CORPUSFS_BROWSE_BROWSE_PIECES_H

#include "lib/backup/large_trees.h"
#include "lib/browse/browse_dir.h"

struct browse_pieces {
	struct blob_id tree; /* that they are of */
	struct tree_pieces list;
	struct large_tree files; /* files.tree.content: the pieces; files.list.content: the list */
};

typedef int (*browse_get_fn)(struct blob_source *source, const struct blob_id *id, bool is_tree, struct buf *ret_plain);

/* `dir`: the directory with the list and the pieces. -EBADMSG, -ENOTSUP a later version, what `get` returns. */
WARN_UNUSED int browse_pieces_new(struct blob_source *source, browse_get_fn get, const struct blob_id *dir, struct browse_pieces **ret_pieces,
				  size_t *ret_cost);
void browse_pieces_free(struct browse_pieces *pieces); /* NULL is fine */

WARN_UNUSED int browse_piece_new(const void *data, size_t len, struct browse_dir **ret_dir, size_t *ret_cost);
/* Whether it is the piece of that number. */
bool browse_pieces_have(const struct browse_pieces *pieces, size_t number, const struct browse_dir *piece);

#endif
