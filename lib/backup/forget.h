/*
 * Which backups stay, by rules such as "seven daily ones". Snapshots of one host and path, and for ours of one dataset, are looked at by
 * themselves, the newest first; each rule keeps the newest one of as many hours, days, ISO weeks, months or years as it says. (UTC.)
 * If by the store's numbers another complete one is of a later snapshot than that which has the latest time, a clock was wrong, and it stays, too.
 * One that is incomplete is never counted: it stays where a complete one in its place would, and an older complete one of the same period, too.
 */
#ifndef CORPUSFS_BACKUP_FORGET_H
#define CORPUSFS_BACKUP_FORGET_H

#include "lib/repository/snapshot_file.h"

struct keep_rules {
	unsigned last, hourly, daily, weekly, monthly, yearly;
};

static inline bool keep_rules_any(const struct keep_rules *rules)
{
	return rules->last || rules->hourly || rules->daily || rules->weekly || rules->monthly || rules->yearly;
}

/* Sets keeps[i] for each snapshot of the array, which is sorted by time, oldest first. */
void forget_apply(const struct keep_rules *rules, const struct snapshot_files *snapshots, bool *keeps);

#endif
