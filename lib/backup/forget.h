/*
 * Which backups stay, by rules such as "seven daily ones". Backups of one host and path, and ours of one dataset, are a group; groups do not count for
 * each other. In a group, each rule keeps the newest backup of as many hours, days, ISO weeks, months or years as it says. (UTC.)
 * So do Debian's restic 0.14 and those before; later ones keep the oldest backup as well where a rule has room left.
 *
 * The complete backup of the store's last snapshot always stays: if a clock was wrong, another one may have a later time.
 *
 * An incomplete backup is not counted: it stays where a complete one would, and so does the next older complete one of the same period.
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
