/*
 * A directory of a backup in memory, as its tree says it: its nodes by their positions, found by their names; and of each file where its blobs
 * begin. Names that no directory can have (with a slash, "." and "..") are left out, and so are nodes of types that we do not know.
 *
 * It is not changed once it is made, but for what browse_dir_layout finds out. Threads: any.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_DIR_H
#define CORPUSFS_BROWSE_BROWSE_DIR_H

#include "lib/browse/blob_source.h"
#include "lib/repository/node.h"

struct browse_dir;

/* -EBADMSG: it is no tree. ret_cost: about how much memory it takes. */
WARN_UNUSED int browse_dir_new(const char *json, size_t len, struct browse_dir **ret_dir, size_t *ret_cost);
void browse_dir_free(struct browse_dir *dir);

size_t browse_dir_count(const struct browse_dir *dir);
const struct node *browse_dir_node(const struct browse_dir *dir, size_t position); /* NULL: there is no such position */
WARN_UNUSED int browse_dir_find(const struct browse_dir *dir, const char *name, size_t *ret_position); /* -ENOENT */

/*
 * Where each blob of the file begins, and at last where the content ends: as many numbers as `count`, one more than there are blobs of known
 * length. After a blob that is in no index, nobody knows where the next begins, so there the list ends.
 */
struct browse_layout {
	uint64_t *begins;
	size_t count;
};
const struct browse_layout *browse_dir_layout(struct browse_dir *dir, size_t position, struct blob_source *source);

#endif
