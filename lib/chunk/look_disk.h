/* What the disk has of a chunk, whatever memory has, and whatever stands for it. Nothing is noted. Internal to lib/chunk; any thread. */
#ifndef CORPUSFS_CHUNK_LOOK_DISK_H
#define CORPUSFS_CHUNK_LOOK_DISK_H

#include "lib/chunk/chunk_store.h"

/* 0: it is whole, or the database gives it whole where it cannot be read so. -EBADMSG, -ENOENT, -ENOMEM. *ret_bytes: of its record, once it was read. */
WARN_UNUSED int chunk_look_disk(struct chunks *chunks, struct scratch *tools, uint64_t id, uint64_t *ret_bytes);

/* The disk may still have what the database has not. Damage in the database's way tells nothing. */
bool chunk_is_removed(struct chunks *chunks, uint64_t id);

#endif
