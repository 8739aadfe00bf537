/*
 * Snapshots by the clock. A dataset's schedule says how many hourly, daily, weekly and monthly ones are kept; a tick takes those that
 * are due and destroys those beyond that number.
 *
 * Time is cut into slots: hours, days, weeks (from Monday) and months, all in UTC. A period is due if none of its snapshots was taken in the
 * slot of `now`. So two ticks in a row take one snapshot, and if many slots were missed, one is taken.
 *
 * A snapshot belongs to a period if it has the flag SNAPSHOT_SCHEDULED and the name auto-PERIOD-YYYYMMDDTHHMMSSZ, which also says when it was
 * taken. A renamed one is the user's. Snapshots that are held or being read are left alone, and so are those of a period that the schedule
 * does not name.
 *
 * In the dataset's record: {"hourly":24,"daily":7,"weekly":4,"monthly":12}, JSON; periods that are not kept are left out.
 */
#ifndef CORPUSFS_STORE_SCHEDULE_H
#define CORPUSFS_STORE_SCHEDULE_H

#include "lib/store/datasets.h"

enum schedule_period { SCHEDULE_HOURLY, SCHEDULE_DAILY, SCHEDULE_WEEKLY, SCHEDULE_MONTHLY, SCHEDULE_PERIODS };
#define SCHEDULE_KEEP_MAX 9999

struct schedule {
	unsigned keep[SCHEDULE_PERIODS]; /* 0: none are taken; all 0: no schedule */
};

const char *schedule_period_name(enum schedule_period period); /* "hourly" */
int64_t schedule_slot(enum schedule_period period, int64_t seconds);
int64_t schedule_seconds(enum schedule_period period); /* of the longest slot */

WARN_UNUSED int schedule_decode(const char *json, struct schedule *ret_schedule); /* "" is no schedule; -EBADMSG */
WARN_UNUSED int schedule_get(struct store *store, const char *dataset, struct schedule *ret_schedule, struct error *err);
WARN_UNUSED int schedule_set(struct store *store, const char *dataset, const struct schedule *schedule, struct error *err);

/*
 * All datasets. `each` is told what was done. A failure in one dataset does not keep the others from their snapshots; the first is
 * returned. `now` in seconds since 1970.
 */
WARN_UNUSED int schedule_tick(struct store *store, int64_t now, void (*each)(void *arg, const char *dataset, const char *snapshot, bool taken),
			      void *arg, struct error *err);

#endif
