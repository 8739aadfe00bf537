/*
 * Leases of datasets that are mounted to be written as published ones: as long as a mount with a lease is there, this store is the writer of what the
 * dataset is published as (writer.h), and what is published from it meanwhile is published in that term. A dataset that has no lease yet, or has it no
 * more, is read-only (lib/store/leaseless.h): nothing is written here that somebody else's version will not have.
 *
 *   leases_begin -> leases_take -> leases_sweep, when the mount is gone
 *
 *   begun --leases_take--> had --lost (watch), or drop--> lost        begun, had, lost --leases_sweep--> gone
 *
 * The head itself knows until when the lease is had, and refuses changes from then on, and whenever there is none (dataset_set_end): that waits for nobody.
 * That it is locked, with all that was accepted before, or unlocked, may take time, as when the disk is full: the thread tries it again until it can be
 * done.
 *
 * In memory: a process that goes on with the mounts of one that died begins them anew, and is given none.
 *
 * Threads: any; a thread of their own watches them.
 */
#ifndef CORPUSFS_BACKUP_LEASES_H
#define CORPUSFS_BACKUP_LEASES_H

#include <jansson.h>

#include "lib/backup/writer.h"
#include "lib/store/store.h"

#define LEASE_SECONDS 60 /* unless somebody says otherwise */

struct leases;

struct leases_options {
	struct store *store;
	/* Whether the dataset is still mounted with a lease. Called without locks. */
	bool (*is_wanted)(void *arg, uint32_t dataset);
	void (*log)(void *arg, const char *level, const char *text);
	void *arg;
};

/* NULL: no thread could be started. */
struct leases *leases_new(const struct leases_options *options);
/* Gives all of them up. The datasets stay as they are. NULL is fine */
void leases_free(struct leases *leases);

/* A dataset is to be mounted with a lease: it is read-only from then on. `why`: of who goes on with a mount, why there will be none; else NULL. */
WARN_UNUSED int leases_begin(struct leases *leases, uint32_t dataset, const char *why, struct error *err);

struct lease_wish {
	struct repository *repository; /* taken over, also after a failure */
	const char *place;             /* what people call it */
	const char *dataset, *as;
	unsigned seconds;
};
/* -EBUSY: another one is the writer; -EOPNOTSUPP: heads are not in etcd; -EINVAL: it is not mounted so. What it has already is no failure. */
WARN_UNUSED int leases_take(struct leases *leases, const struct lease_wish *wish, uint64_t *ret_term, struct error *err);

/* Of what is not mounted so any more: gives it up, and the dataset is as any other. Returns when it is done. */
void leases_sweep(struct leases *leases);

/*
 * Whether the dataset is published in that repository, as this one, by a lease: 1, and then what is put there is put in its term; 0: it is not.
 * -EBUSY: the lease is lost.
 */
WARN_UNUSED int leases_join(struct leases *leases, const char *dataset, struct repository *repository, const char *as, uint64_t *ret_term,
			    struct error *err);

/* Rows {dataset, as?, place?, state: "had", "lost", "none", read_only: whether changes are refused, term?, left_s?, why?, since: when it was taken or lost}. */
json_t *leases_list(struct leases *leases);

#endif
