/* What damaged tables of content, and of the index of it, have lost (RB5, RB6 in rebuild.h). Internal to lib/verify. */
#ifndef CORPUSFS_VERIFY_REBUILD_CONTENT_H
#define CORPUSFS_VERIFY_REBUILD_CONTENT_H

#include "lib/format/record.h"
#include "lib/kv/kv.h"

/*
 * Puts a chunk that something names into the damage list, if it is one of `maybe_lost` and not there any more. *any_lost becomes true unless
 * another one stands for it.
 */
WARN_UNUSED int rebuild_note_lost(struct kv *kv, const struct line *maybe_lost, uint64_t chunk, struct kv_batch *batch, bool *any_lost);
/* The same of those that stand for damaged ones. */
WARN_UNUSED int rebuild_note_replacements(struct kv *kv, const struct line *maybe_lost, struct kv_batch *batch, bool *any_lost);

/* Reads all content that can be read. The batch is written now and then, and what is in it at the end is the caller's. */
WARN_UNUSED int rebuild_index(struct kv *kv, struct kv_batch *batch);

#endif
