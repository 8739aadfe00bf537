/* What the files of publish.h share. Not for others. They stand in this order: publish_hold, publish. */
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

#endif
