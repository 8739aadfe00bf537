/*
 * Who is inside RocksDB, so that the database can be opened anew under its users (reopen.h).
 *
 *   if (!kv_enter(kv)) return -EIO;      the database cannot be opened any more
 *   ... kv->db, kv->handles ...
 *   kv_leave(kv);
 *
 * Whoever is inside may enter again; an iterator and a pinned value are inside for as long as they live. All are shut out only from a moment in
 * which nobody is inside, so whoever is never waits for that, and whoever waits holds nothing of RocksDB's. It lasts for as long as an opening
 * takes. While that moment is looked for, whoever enters waits for a little, and then enters all the same.
 *
 * Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_INSIDE_H
#define CORPUSFS_KV_INSIDE_H

#include "lib/kv/internal.h"

WARN_UNUSED bool kv_enter(struct kv *kv);
void kv_leave(struct kv *kv);

/* True: nobody is inside, and nobody comes in before kv_let_in(). False: for so long there was always somebody. One thread at a time. */
WARN_UNUSED bool kv_shut_out(struct kv *kv, unsigned ms);
void kv_let_in(struct kv *kv);

#endif
