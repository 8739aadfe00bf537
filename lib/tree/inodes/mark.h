/*
 * Which requests of the kernel have changed something, in the same batch as the change: so that whoever goes on after a process has died knows of
 * a request that comes again whether it was done. Each thread that serves requests has a place, in which the last one stands:
 *
 *   catalog 'J' "request.PLACE" -> session u64 | request u64, little-endian
 *
 * A mark belongs to the thread that set it. It goes with changes of names and attributes, and of the catalogue of datasets and snapshots.
 * Content that is committed on the way of a request carries none, since it says nothing of it.
 */
#ifndef CORPUSFS_TREE_INODES_MARK_H
#define CORPUSFS_TREE_INODES_MARK_H

#include "lib/kv/kv.h"

struct mark {
	uint64_t session, request; /* session 0: none */
	unsigned place;
};

void mark_set(const struct mark *mark); /* of this thread, copied; NULL: none any more */
void mark_add(struct kv_batch *batch);  /* this thread's, if it has one */
WARN_UNUSED int mark_read(struct kv *kv, unsigned place, struct mark *ret_mark); /* -ENOENT */

#endif
