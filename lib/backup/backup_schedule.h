/*
 * Backups and drills by the clock: what is to be done for each dataset, what was done, and what is due. Who does it is somebody else: a tick of
 * the command or the daemon asks for what is due, does it, and notes how it went.
 *
 * Verifications of all data are noted, too, and not planned.
 *
 * A kind (full, differential, incremental, drill) is due if it was not done in the slot (lib/store/schedule.h) of now. A backup of a higher kind
 * counts for the lower ones, and the first one is full. What failed is due again after BACKUP_RETRY seconds. What was begun and cut off, by umount, a
 * kill or the power, is due as if it had not been begun.
 *
 * All of it is one record of the catalogue ('J' "backups"): {"ID of a dataset": entry, ...}
 *
 *   entry {"repository": an absolute path, or "NAME:" of a remote of whoever makes it; "password_file": an absolute path, or missing where the remote
 *          says where the password comes from; "every": {kind: "hourly" | "daily" | "weekly" | "monthly"}, "keep": {"last": n, "hourly", ...},
 *          "memory": drills go into memory, true or missing,
 *          "done": {kind: {"time": of the last that went well, "tried": of the last one, "failure": text or null, "seconds": how long,
 *          "begun": {"time", and what process_json.h has}: of a try that has not ended, and by which process}},
 *         "since": {kind: when it was planned so}}
 *
 * What drills and verifications found good, and how drills went where no schedule plans any, is another record (verified.h).
 *
 * Any thread.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_SCHEDULE_H
#define CORPUSFS_BACKUP_BACKUP_SCHEDULE_H

#include <jansson.h>
#include <sys/types.h>

#include "lib/store/datasets.h"

#define BACKUP_RETRY 900

enum backup_kind { BACKUP_KIND_FULL, BACKUP_KIND_DIFFERENTIAL, BACKUP_KIND_INCREMENTAL, BACKUP_KIND_DRILL, BACKUP_KIND_VERIFY, BACKUP_KINDS };
const char *backup_kind_text(enum backup_kind kind);
WARN_UNUSED int backup_kind_parse(const char *text, enum backup_kind *ret_kind); /* -EINVAL */

/* The entry of a dataset, the caller's; NULL: it has none. -ENOENT: there is no such dataset. */
WARN_UNUSED int backup_schedule_get(struct store *store, const char *dataset, json_t **ret_entry, struct error *err);
/*
 * Sets what is to be done; what was done stays known as long as the repository is the same. The entry's "done" says what else was done: of two times
 * the later one counts. NULL: nothing is to be done. -EINVAL
 */
WARN_UNUSED int backup_schedule_set(struct store *store, const char *dataset, const json_t *entry, struct error *err);

/* For each dataset that has an entry; what is of datasets that are gone is left out. What `each` returns, if not 0, ends it and is returned. */
typedef int (*backup_schedule_fn)(void *arg, const struct dataset_info *dataset, const json_t *entry);
WARN_UNUSED int backup_schedule_each(struct store *store, backup_schedule_fn each, void *arg);

/* Whether something is due for an entry, and what comes first; `now` in seconds since 1970. A drill comes when no backup is due. */
bool backup_schedule_due(const json_t *entry, int64_t now, enum backup_kind *ret_kind);
/*
 * The newest try failed, or the last one that went well is longer ago than one and a half intervals, or it was planned then and never done: somebody
 * should look. Half an interval of grace, for what is due is made when the store is mounted or ticked next, and takes its time: a machine that is off
 * for a night has no late daily backup. Slots would not do: what is done at the begin of one may be done at the end of the next.
 */
bool backup_schedule_late(const json_t *entry, enum backup_kind kind, int64_t now);

/* The kind that is made where this one is planned: there is nothing for another to be based on before the first full one. */
enum backup_kind backup_schedule_made_for(const json_t *entry, enum backup_kind kind);
/* Whether one of the kind is being made, or was begun and cut off after the last one that went well; and when it was begun. */
enum backup_state { BACKUP_IDLE, BACKUP_RUNNING, BACKUP_INTERRUPTED };
enum backup_state backup_schedule_state(const json_t *entry, enum backup_kind kind, int64_t *ret_begun);

/*
 * Notes a try in the entries that name the repository, also of one that nobody planned: failure NULL, it went well. `dataset` NULL: of all datasets with
 * that repository.
 */
struct backup_note {
	const char *dataset, *repository;
	enum backup_kind kind;
	int64_t now;
	pid_t begins; /* not 0: it begins, in this process, and the rest is not known yet */
	const char *failure;
	double seconds;
	/* {dataset's STORE/NUMBER: when its newest backup was taken that came back or was read whole}: what went well counts for these alone; or NULL */
	const json_t *verified;
};
WARN_UNUSED int backup_schedule_note(struct store *store, const struct backup_note *note, struct error *err);

#endif
