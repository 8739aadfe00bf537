/*
 * The damage list: chunks that were found missing or damaged, and the chunks that stand for them.
 *
 *   DL1  A chunk stays in the list, over restarts, until the collector removes it or a later look finds it whole. It is kept in the
 *        catalogue ('C'); what cannot be written (a full or a read-only store) stays in memory, and damaged_save() tries again.
 *   DL2  Good bytes that come in replace it: the batch that stores them as another chunk says that this one is read instead
 *        (damaged_replace). The extents of all snapshots go on to name the damaged chunk, and are whole again. So does a chunk with the same
 *        bytes that is there already (twin.h).
 *   DL3  A chunk that is needed only because it stands for another one is kept as long as an extent names that one (sweep.c). So nothing is
 *        swept while what the store says of a damaged chunk cannot be read, and a list that cannot be read whole keeps the store shut.
 *
 * Any thread; a leaf among the locks, held while a record is written.
 */
#ifndef CORPUSFS_CHUNK_DAMAGED_H
#define CORPUSFS_CHUNK_DAMAGED_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/chunk/chunks.h"
#include "lib/format/record.h"
#include "lib/kv/kv.h"

struct damaged;

/* Reads the list. -EBADMSG, -EIO and others: not all of it can be read. */
WARN_UNUSED int damaged_open(struct kv *kv, struct damaged **ret_damaged, struct error *err);
void damaged_close(struct damaged *damaged); /* NULL is fine */

void damaged_add(struct damaged *damaged, uint64_t id);
void damaged_save(struct damaged *damaged); /* what could not be written when it was found */

/* The chunk that is to be read for this one: itself, if it is not in the list or nothing stands for it. */
uint64_t damaged_resolve(struct damaged *damaged, uint64_t id);

/* As part of the batch that stores the replacement; `id` was added before. */
void damaged_replace(struct damaged *damaged, struct kv_batch *batch, uint64_t id, uint64_t replacement);

/* A chunk with the same bytes, which is there, stands for it from now on; DL1 holds for that, too. `id` was added before. */
void damaged_put_twin(struct damaged *damaged, uint64_t id, uint64_t twin);

/* The chunks of the list for which `end` is read, as far as memory knows: at most `max` of them. */
size_t damaged_read_from(struct damaged *damaged, uint64_t end, uint64_t *ret_ids, size_t max);

bool damaged_any(const struct damaged *damaged); /* false: the list is empty, and was since it was read */
/* What the list says of a chunk; false: it is not in it. */
bool damaged_get(struct damaged *damaged, uint64_t id, struct damage_record *ret_record);
/* As part of a batch: nothing stands for the chunk any more. */
void damaged_put_back(struct damaged *damaged, struct kv_batch *batch, uint64_t id, int64_t found);

/*
 * They are gone, or were found whole: writes the batch, which the caller may have begun, with their removal from the list, and then forgets them.
 * Whoever adds one of them meanwhile waits, and adds it anew (DL1). What the write gives; nothing is forgotten then.
 */
WARN_UNUSED int damaged_forget(struct damaged *damaged, struct kv_batch *batch, unsigned flags, const uint64_t *ids, size_t count);

/* Whether somebody is to be told now of damage to this chunk; not again for ten minutes. */
bool damaged_tell(struct damaged *damaged, uint64_t id);

/* A copy of the list, in the order of ids; freed by the caller. */
size_t damaged_list(struct damaged *damaged, struct chunk_damage **ret_list);

#endif
