/*
 * Two groups that store the same bytes at once make two chunks of them, and the index names one. If the other one is damaged, no good copy
 * that comes in would heal it: it is taken for the one that the index names. So whoever meets a damaged chunk looks for such a twin. Internal
 * to lib/chunk. Any thread, without locks of lib/chunk.
 *
 * A chunk that was healed is such a twin of what stands for it: it may be whole again when that is damaged in its turn.
 */
#ifndef CORPUSFS_CHUNK_TWIN_H
#define CORPUSFS_CHUNK_TWIN_H

#include "lib/chunk/chunk_store.h"

/*
 * The chunk, whole, that has what the damaged one had, which is in the damage list; it stands for it from now on. CHUNK_NONE: none is known. That
 * the bytes are those is proved: with them the damaged record's own checksum is right, or it was stored to heal the other one and has its SHA-256.
 */
uint64_t twin_find(struct chunks *chunks, uint64_t id);

#endif
