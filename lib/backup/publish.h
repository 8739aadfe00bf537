/*
 * Publishing: an incremental backup that relies on all that the repository has (but for what unfinished backups have put), and then, as the last
 * step, a head (heads.h) that names it. Until then readers get the version before.
 *
 * Publishing goes on from a version: the last one that this dataset published, or was restored from. If another one has become the head since, nobody
 * has decided what becomes of that, and publishing is refused with what came in between. The same happens when two publish at once: one wins.
 *
 * A copy of the store, or one that was put back from an older copy, did not publish what the original published since: a version counts as the
 * dataset's own only while its snapshot is there. One that was restored counts as long as what is published comes from it.
 *
 * Without a snapshot that is named, a dataset in which nothing was touched since its version became the head is not published again.
 *
 * Which version a dataset goes on from stands in the store, as a hold of the snapshot: "published:DATASET DIGITS:NUMBER" (head_dataset_text, the
 * first PUBLISH_DIGITS of them). A snapshot that is taken to be published is called "published-TIME", and goes when the next one is published.
 *
 *   publish_run: the backup, then under its lock the head, then the hold. Dying in between leaves a backup that nobody is told of, or a head whose
 *   hold is missing: the head says itself which dataset published it, and the snapshot stays.
 */
#ifndef CORPUSFS_BACKUP_PUBLISH_H
#define CORPUSFS_BACKUP_PUBLISH_H

#include "lib/backup/backup.h"
#include "lib/backup/heads.h"

#define PUBLISH_DIGITS 12

struct publish_options {
	struct transfer_options transfer;
	struct repository *repository; /* its index is loaded here */
	const char *place;             /* what messages call the repository */
	const char *dataset, *snapshot; /* snapshot NULL: one is taken */
	const char *as;                /* what the dataset is called there */
	bool force;                    /* whatever came in between */
	bool unchanged;                /* a snapshot that is taken here becomes a version even if nothing was touched since the head */
	bool dry_run;
	bool single_writer;            /* the place need not keep writers apart */
	unsigned lease_s;              /* as its writer, with a lease of so many seconds (writer.h); 0: without */
	struct leases *leases;         /* of what is mounted with one, whose term counts then (leases.h); NULL: nothing is */
};

struct publish_result {
	struct head head;          /* as it is, or would be */
	uint64_t before;           /* the number that was the head; 0: none */
	uint64_t term;             /* of the writer; 0: without a lease */
	bool was_there;            /* this very version is the head already, or nothing was touched since: nothing was done */
	struct backup_result backup;
	struct heads between;      /* when it is refused: what came in between */
};
void publish_result_clear(struct publish_result *result);

/* -EEXIST: others came in between, or there is a version of that name; -EOPNOTSUPP: the place does not keep writers apart;
 * -EBUSY: another one is the writer. */
WARN_UNUSED int publish_run(struct store *store, const struct publish_options *options, struct publish_result *ret_result, struct error *err);

/* The snapshot of a dataset becomes what it goes on from: it was restored from this head, or published as it. */
WARN_UNUSED int publish_hold(struct store *store, const char *dataset, const char *snapshot, const struct repository *repository,
			     const struct head *head, struct error *err);

/* After a version was restored whole: its snapshot, from which the dataset goes on. ret_name has NAME_LEN_MAX + 1 bytes. */
WARN_UNUSED int publish_restored(struct store *store, const char *dataset, const struct repository *repository, const struct head *head, char *ret_name,
				 struct error *err);

#endif
