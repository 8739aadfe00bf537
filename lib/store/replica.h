/*
 * Replicas: datasets that only streams change (lib/format/stream.h), and the numbers by which stores know each other's snapshots.
 *
 * A replica's head is locked: every change of it answers -EROFS, whoever tries. It has no snapshots but those that came in streams, or that it
 * had before. It can be read, cloned, renamed and destroyed, and its snapshots can be destroyed.
 *
 * The number of a snapshot is its own in all stores. Where it was taken it is made of the store's UUID and what the snapshot has there; in a
 * stream it goes with the snapshot. So the snapshots that two stores have in common are known, whatever they are called. That a snapshot with
 * the same number also holds the same is what identities are for (lib/identity).
 *
 * Threads: any.
 */
#ifndef CORPUSFS_STORE_REPLICA_H
#define CORPUSFS_STORE_REPLICA_H

#include "lib/store/snapshots.h"

#define SNAPSHOT_ID_LEN 32

/* -EBADMSG: what is noted of it is damaged. */
WARN_UNUSED int snapshot_id(struct store *store, const struct snapshot_info *info, uint8_t ret_id[SNAPSHOT_ID_LEN]);
/* Whether it came in a stream. */
bool snapshot_was_received(struct store *store, const struct snapshot_info *info);
/* The dataset's snapshot with this number. -ENOENT */
WARN_UNUSED int snapshot_find_id(struct store *store, const char *dataset, const uint8_t id[SNAPSHOT_ID_LEN], struct snapshot_info *ret_info);

/* 1: nothing was changed in the dataset since it was as the snapshot, which is its newest state; 0: something was; -ENOENT. */
WARN_UNUSED int dataset_is_at(struct store *store, const char *dataset, const char *snapshot);
/* The same of all its snapshots at once: 1, and the one that it is at; 0: it is at none; -ENOENT. */
WARN_UNUSED int dataset_stands_at(struct store *store, const char *dataset, char ret_snapshot[NAME_LEN_MAX + 1]);

/*
 * Makes the dataset a replica, or one that can be written again. All that was accepted from its users before is committed. Nothing happens when
 * it is so already.
 */
WARN_UNUSED int dataset_set_replica(struct store *store, const char *dataset, bool is_replica, struct error *err);

/*
 * Rolls the dataset, which may be a replica, back to the snapshot, as dataset_rollback with a guard does, and makes it a replica, in one instant:
 * whatever fails, it never can be written in between.
 */
WARN_UNUSED int dataset_demote_to(struct store *store, const char *dataset, const char *snapshot, char *ret_guard, struct error *err);

/* -EROFS, with a text and what to do. */
int replica_refuse(const char *dataset, struct error *err);

#endif
