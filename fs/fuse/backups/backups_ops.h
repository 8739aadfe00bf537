/* The operations of a mount of backups, and what they work with. Internal to fs/fuse/backups. */
#ifndef CORPUSFS_FUSE_BACKUPS_BACKUPS_OPS_H
#define CORPUSFS_FUSE_BACKUPS_BACKUPS_OPS_H

#include "fs/fuse/backups/backups.h"
#include "fs/fuse/backups/backups_jobs.h"
#include "fs/fuse/session/session.h"

/* The first member is the session's (session_start); it is the requests' userdata. */
struct backups {
	struct session *session;
	struct backups_options options;
	/* Each with threads of its own, so that none keeps another from going on: of who reads, of who fills the cache, and of what nobody waits for. */
	struct backups_jobs *jobs, *bringing, *ahead;
	struct kept_session *kept;
};

extern const struct fuse_lowlevel_ops backups_ops;

#endif
