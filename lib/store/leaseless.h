/*
 * Datasets that are written with a lease alone (lib/backup/leases.h): while there is none, the head is locked, as a replica's is (replica.h). This is not
 * kept in the store: a dataset that nobody has mounted with a lease is like all others.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_STORE_LEASELESS_H
#define CORPUSFS_STORE_LEASELESS_H

#include "lib/store/store.h"

/* In one instant: all that was accepted before is committed. Nothing happens when it is so already. -ENOENT */
WARN_UNUSED int dataset_set_leaseless(struct store *store, uint32_t dataset, bool is_leaseless, struct error *err);

/* -EROFS, with a text and what to do: of a dataset whose head is locked, for whatever reason. */
int dataset_refuse_locked(struct store *store, const char *dataset, struct error *err);

#endif
