/*
 * What the database does once one of its tables is damaged.
 *
 * RocksDB merges tables by itself, and for the collector. When it meets a damaged block in that, it stops writing for as long as the
 * database is open, and again after each opening. One flipped bit would take the whole store away.
 * Then it is opened anew, and goes on (reopen.h). But a merge that is tried again and again would end the same way. So:
 *
 *   KD1  What the collector asks for is read whole before it is merged (damage_verify). What is damaged stays where it is.
 *   KD2  When any read or merge has met damage, RocksDB merges nothing by itself any more (damage_found). A file, the mark, says so to the
 *        next opening, since writing may have stopped. Writing goes on without merging; only many later writes make reading slower.
 *   KD3  The mark goes when all tables were read whole, and neither that nor anybody else has met damage meanwhile (kv_tables_look, kv_tables_seen).
 *   KD4  When only content was damaged, and no file needs what cannot be read of it, the other tables are merged again. The mark says so. A
 *        merge that the collector asks for meets that damage again (KD1), which is nothing new.
 *
 * Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_DAMAGE_H
#define CORPUSFS_KV_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/kv/kv.h"

enum kv_damage damage_marked(const char *mark); /* the path; NULL: none */
bool damage_stops(enum kv_damage damage, enum kv_family family); /* the merging of this family */
void damage_found(struct kv *kv, enum kv_family family); /* KV_FAMILY_COUNT: in which it is, is not known */

/* Reads all that a merge of [first, end) would read, dead records as well. -EBADMSG: some of it is damaged. */
WARN_UNUSED int damage_verify(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len);

#endif
