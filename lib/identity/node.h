/*
 * Nodes: the digest of one inode, as lib/identity/identity.h defines it. Internal to lib/identity.
 *
 * Threads: any; a source may serve several at a time.
 */
#ifndef CORPUSFS_IDENTITY_NODE_H
#define CORPUSFS_IDENTITY_NODE_H

#include "lib/identity/file_content.h"

struct node {
	struct digest_record digest;
	uint64_t epoch; /* of the inode's record */
	uint32_t mode, nlink;
};

/*
 * Of an inode that is not a directory. `old` (with its epoch) may be NULL: the newest digest record that the line sees; what is still true
 * of it is not computed again. -ENOENT no such inode, -EISDIR, -EIO, -ECANCELED, with NODE_IN_STEP -EINPROGRESS.
 */
WARN_UNUSED int node_compute(struct node_source *source, uint64_t ino, const struct digest_record *old, uint64_t old_epoch,
			     unsigned flags, struct node *ret_node);

#endif
