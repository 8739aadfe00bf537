/*
 * Node ids, the numbers by which kernel and daemon name a file to each other, and st_ino. They are pure encodings: what they name needs no
 * entry anywhere, so forgetting is nothing, a file handle (NFS, open_by_handle_at) stays valid when all caches are gone, and a file and its
 * copy in a snapshot never look like the same file to cp, diff, tar or find. A node id is
 *
 *   bits 40..63  view number
 *   bit  39      set: the virtual directory ".snapshots" of the root directory in the low bits; or, of another inode, what a name stands for
 *                whose inode is missing: all that can be had of it is EIO, but the name can be removed
 *   bits 0..38   inode number
 *
 * or, of a dataset's head the root directory (or its ".snapshots"),
 *
 *   bits 40..63  0
 *   bit  39      as above
 *   bits 0..38   the dataset's number + 1
 *
 * A rollback gives a dataset a head with another view number. What is in the head then has other node ids, and the old ones are stale; but
 * who stands in the root directory, or sees it alone (mount --bind, corpusfs mount STORE:DATASET), goes on in the new head. Which view that
 * is says head_views.h. Numbers of views and datasets are never given out again: an id that outlives what it names stays stale.
 *
 * st_ino is the node id by view, of a root directory too, with the view number, its bits in reverse order, added to bits 8..31 without carry.
 * So one can be had from the other, and programs that keep 32 bits of st_ino (archives of `cpio -H newc`) tell files of two views apart,
 * too: as long as the number of the one view that is greater and of the one inode have no more than 32 bits together, always.
 *
 * FUSE's root id 1 (there is no dataset 0) is the mount's root: in a mount of the whole store the list of datasets, else the root directory
 * of the snapshot, or of the dataset's head, that is mounted.
 */
#ifndef CORPUSFS_FUSE_SESSION_NODE_H
#define CORPUSFS_FUSE_SESSION_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/fuse/session/head_views.h"

enum node_kind { NODE_DATASETS, NODE_SNAPSHOTS, NODE_FILE };

#define NODE_MOUNT_ROOT 1ULL

struct node {
	enum node_kind kind;
	uint32_t view; /* 0 for NODE_DATASETS */
	uint64_t ino;
};

/* What the root of a mount stands for; where both are 0, the list of datasets. */
struct node_root {
	const struct head_views *heads;
	uint32_t dataset;  /* its head */
	uint32_t snapshot; /* this view */
};

uint32_t node_root_view(const struct node_root *root); /* as it is now; 0: the list of datasets */

bool node_is_root_of_head(uint64_t id, const struct node_root *root); /* that directory, whatever view the head has */

/* Of a dataset that is not known the view is 0, which is never there. */
struct node node_decode(uint64_t id, const struct node_root *root);
uint64_t node_encode(struct node node, const struct node_root *root);
/* The same for a file or directory of this view and no other, even if it is the root of a head. */
uint64_t node_encode_in_view(struct node node);

uint64_t node_encode_missing(uint32_t view, uint64_t ino); /* not of a root directory */
bool node_is_missing(struct node node);

/* st_ino; the same in every mount. */
uint64_t node_number(uint32_t view, uint64_t ino, bool snapshots);

#endif
