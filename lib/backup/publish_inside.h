/* What the files of publish.h share. Not for others. They stand in this order: publish_hold, publish_same, publish. */
#ifndef CORPUSFS_BACKUP_PUBLISH_INSIDE_H
#define CORPUSFS_BACKUP_PUBLISH_INSIDE_H

#include "lib/backup/publish.h"

/* What is taken here has one of these notes. Users may call theirs as they like. */
#define NOTE_TAKEN "taken to be published"
#define NOTE_RESTORED "the version that was restored"
#define PREFIX "published-"
#define HOLD_LEN (64 + PUBLISH_DIGITS)

/* "published:DIGITS:" */
void publish_hold_begins(const struct repository *repository, const char *as, char out[HOLD_LEN]);
/* "published-TIME" */
void publish_name_now(char out[NAME_LEN_MAX + 1]);

/*
 * Whether a new version would be the head again: nothing was touched between the snapshots, of which `then` is the head's and has its identity, and
 * all that the head consists of is in the repository, as far as its index tells. Where that is not known, it is another one.
 */
bool publish_is_same(struct store *store, const struct publish_options *options, const char *then, const char *now, const struct head *head);

#endif
