/*
 * How far the datasets of a store were replicated: what of each was sent last, to where, and when. Kept with the store that sends, by dataset.
 *
 * The next stream begins at what was sent last. So that is held (REPLICATION_TAG), and what is on its way, too, for each replica until it has a newer
 * one: replication_begin -> the stream -> replication_note. `whom` is the UUID of the replica's store; or, if that is too old to tell it, the command.
 * Threads: any.
 */
#ifndef CORPUSFS_STREAM_REPLICATION_H
#define CORPUSFS_STREAM_REPLICATION_H

#include <jansson.h>

#include "lib/store/datasets.h"

#define REPLICATION_TAG "replication"

/* The replica is going to get this snapshot. -ENOENT */
WARN_UNUSED int replication_begin(struct store *store, const char *dataset, const char *snapshot, const char *whom, struct error *err);
/* It has it now, by the command `to`. -ENOENT */
WARN_UNUSED int replication_note(struct store *store, const char *dataset, const char *snapshot, const char *whom, const char *to,
                                 struct error *err);

/*
 * It has no replica any more: its snapshots are not held. What fails is tried again when it is sent again. replication_end_begin, before that which
 * ends the replication is done: if we die on the way, replication_is_ending tells who does it once more that the end is still to come.
 */
WARN_UNUSED int replication_end_begin(struct store *store, const struct dataset_info *info, struct error *err);
bool replication_is_ending(struct store *store, const struct dataset_info *info);
void replication_end(struct store *store, const struct dataset_info *info);

/*
 * {to, snapshot, sent: seconds since 1970, behind: how many snapshots it is to get, lag: how old the oldest of these is, in seconds}, a new
 * reference, with names as bytes; NULL: it was never replicated. If what was sent last was left by a rollback, at least one is to come.
 */
json_t *replication_status(struct store *store, const struct dataset_info *info);

#endif
