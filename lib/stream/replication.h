/*
 * How far the datasets of a store were replicated: what of each was sent last, to where, and when. Kept with the store that sends, by dataset.
 * Threads: any.
 */
#ifndef CORPUSFS_STREAM_REPLICATION_H
#define CORPUSFS_STREAM_REPLICATION_H

#include <jansson.h>

#include "lib/store/datasets.h"

/* The command `to` has this snapshot now. -ENOENT */
WARN_UNUSED int replication_note(struct store *store, const char *dataset, const char *snapshot, const char *to, struct error *err);

/*
 * {to, snapshot, sent: seconds since 1970, behind: how many snapshots were taken after that one, lag: how old the oldest of these is, in
 * seconds}, a new reference, with names as bytes; NULL: it was never replicated.
 */
json_t *replication_status(struct store *store, const struct dataset_info *info);

#endif
