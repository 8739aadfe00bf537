/*
 * Chunk ids: two counters (bulk and small), each handed out in contiguous, ascending ranges, and never twice.
 *
 * I-1  No id is given out twice, whatever crashes. Before an id is given out, a limit above it is durable in the catalog ('N' "bulk" and
 *      "small": the whole id, with CHUNK_BULK), and after a crash counting goes on from that limit. The limit is moved in strides, so
 *      that the synced write is rare; an orderly close writes the true next id back. As a second defence against a catalog that is older
 *      than the chunks, counting never starts at or below the last key of the column family.
 *
 * Any thread.
 */
#ifndef CORPUSFS_CHUNK_IDS_H
#define CORPUSFS_CHUNK_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/chunk/backend.h"
#include "lib/kv/kv.h"

struct ids;

WARN_UNUSED int ids_open(struct kv *kv, struct backend *backend, struct ids **ret_ids, struct error *err);
void ids_close(struct ids *ids); /* NULL is fine */
WARN_UNUSED int ids_take(struct ids *ids, bool bulk, uint64_t count, uint64_t *ret_first);
uint64_t ids_next(struct ids *ids, bool bulk);

#endif
