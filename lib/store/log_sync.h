/*
 * The log is brought to the disk by a clock, so that what nobody asks to be synced is there within five seconds all the same: content is
 * committed after STORE_COMMIT_MS at the latest (lib/tree/content), and what is in the log is synced LOG_SYNC_MS later at the latest.
 *
 * Errors are not reported: what cannot be synced stays unsynced, is tried again, and whoever asks for a sync is told. Internal to lib/store.
 * log_sync_start comes first, log_sync_stop ends it before the database is closed.
 */
#ifndef CORPUSFS_STORE_LOG_SYNC_H
#define CORPUSFS_STORE_LOG_SYNC_H

#include "lib/kv/kv.h"

#define STORE_COMMIT_MS 3500
#define LOG_SYNC_MS 1000

struct log_sync;

WARN_UNUSED int log_sync_start(struct kv *kv, struct log_sync **ret_sync);
void log_sync_stop(struct log_sync *sync); /* NULL is fine */

#endif
