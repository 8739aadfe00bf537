/*
 * Datasets that are written with a lease alone (lib/backup/leases.h): while there is none, the head is locked, as a replica's is (replica.h). This is not
 * kept in the store: a dataset that nobody has mounted with a lease is like all others.
 *
 * A lease ends at a time that is known. The head has it, and refuses changes from then on, whoever has time to notice, and whatever cannot be committed.
 * That the head is locked comes after it, as soon as all that was accepted before is committed.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_STORE_LEASELESS_H
#define CORPUSFS_STORE_LEASELESS_H

#include "lib/store/store.h"

struct dataset;

/* Changes are accepted until that time of clock_boot_ms, 0: without an end. At once; it waits for nothing. Not of a head that is locked. */
void dataset_set_end(struct store *store, uint32_t dataset, uint64_t end_ms);
#define LEASE_OVER 1 /* that time has come */

/* Whether its head refuses changes, for whatever reason. Caller holds no lock, or change_lock. */
bool dataset_refuses(struct store *store, const struct dataset *dataset);

/* In one instant: all that was accepted before is committed. Nothing happens when it is so already. -ENOENT */
WARN_UNUSED int dataset_set_leaseless(struct store *store, uint32_t dataset, bool on, struct error *err);

/* -EROFS, with a text and what to do: of a dataset whose head refuses changes, for whatever reason. */
int dataset_refuse_locked(struct store *store, const char *dataset, struct error *err);

#endif
