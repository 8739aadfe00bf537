/*
 * A repair that has lost a part of the catalogue may have lost the list of damaged chunks, too (lib/chunk/damaged.h). Then nobody knows which
 * chunks stand for damaged ones, and no extent names those: the collector would remove them. So it removes no chunk until a scrub, from its
 * beginning on, has found all that is needed whole, or has found again what stands for it. One record of the catalogue, 'J' "hold":
 * u8 version | u8 state.
 *
 *   free --rebuild_catalog()--> held --a scrub begins--> held, scrubbed --it ends, and nothing needed is damaged--> free
 *
 * Internal to lib/store, lib/reclaim and lib/verify. Any thread.
 */
#ifndef CORPUSFS_STORE_GC_HOLD_H
#define CORPUSFS_STORE_GC_HOLD_H

#include "lib/kv/kv.h"

enum gc_hold { GC_FREE, GC_HELD, GC_HELD_SCRUBBED };

WARN_UNUSED int gc_hold_get(struct kv *kv); /* enum gc_hold; negative errno */
void gc_hold_put(struct kv_batch *batch, enum gc_hold hold);
WARN_UNUSED int gc_hold_set(struct kv *kv, enum gc_hold hold);

#endif
