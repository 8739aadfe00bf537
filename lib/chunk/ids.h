/*
 * Chunk ids. There are two counters, for bulk and for small chunks. Each gives out contiguous, ascending ranges.
 *
 * No id is given out twice, whatever crashes. Before an id is given out, a limit above it is durable in the catalog ('N' "bulk" and "small":
 * the whole id, with CHUNK_BULK). After a crash, counting goes on from that limit. The limit moves in strides, so that the synced write is
 * rare; an orderly close writes the true next id. Should the catalog be older than the chunks, counting still begins above the last id that
 * is stored.
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
