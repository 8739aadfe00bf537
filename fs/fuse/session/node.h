/*
 * Node ids, the numbers by which kernel and daemon name a file to each other, and st_ino. They are pure encodings: no
 * table is needed to understand one, so forgetting is nothing, a file handle (NFS, open_by_handle_at) stays valid
 * when all caches are gone, and a file and its copy in a snapshot never look like the same file to cp, diff, tar or
 * find. A node id is
 *
 *   bits 40..63  view number
 *   bit  39      set: the virtual directory ".snapshots" of the directory in the low bits
 *   bits 0..38   inode number
 *
 * st_ino is the node id with the view number, its bits in reverse order, added to bits 8..31 without carry. So one can be had from the
 * other, and programs that keep 32 bits of st_ino (archives of `cpio -H newc`) tell files of two views apart, too: as long as the number of
 * the one view that is greater and of the one inode have no more than 32 bits together, always.
 *
 * FUSE's root id 1 (view number 0) is the mount's root: in a mount of the whole store the list of datasets, else the
 * root directory of the view that is mounted.
 */
#ifndef CORPUSFS_FUSE_SESSION_NODE_H
#define CORPUSFS_FUSE_SESSION_NODE_H

#include <stdbool.h>
#include <stdint.h>

enum node_kind { NODE_DATASETS, NODE_SNAPSHOTS, NODE_FILE };

#define NODE_MOUNT_ROOT 1ULL

struct node {
	enum node_kind kind;
	uint32_t view; /* 0 for NODE_DATASETS */
	uint64_t ino;
};

/* root_view: the view that the mount's root stands for; 0 in a mount of the whole store. */
struct node node_decode(uint64_t id, uint32_t root_view);
uint64_t node_encode(struct node node, uint32_t root_view);

/* st_ino; the same in every mount. */
uint64_t node_number(uint32_t view, uint64_t ino, bool snapshots);

#endif
