/*
 * What commands do with a mount of a repository's backups, or of what is in a remote: it has no store, and is asked through attributes of its files
 * (fs/fuse/backups/backups_xattrs.h).
 */
#ifndef CORPUSFS_CLI_REMOTE_MOUNT_H
#define CORPUSFS_CLI_REMOTE_MOUNT_H

#include <jansson.h>
#include <stdint.h>

#include "fs/cli/command.h"

#define REMOTE_AWAY "its place does not answer"

bool remote_mount_has(const char *path); /* it lies in one */

/* How the mount fares in which the path lies. */
WARN_UNUSED int remote_mount_ask(const char *path, json_t **ret_status, struct error *err);
int remote_mount_status(struct cli *cli, const char *path); /* prints it; returns the exit code */

/* A step through the content of the files of a directory, or of one file (browse_bring). All zero is the first. */
struct remote_step {
	uint64_t position, offset;
	bool at_end; /* there is no next one */
	uint64_t files, bytes, failed; /* that it brought; failed: pieces that cannot be had */
};
/* Brings what the step has to the mount's cache, and moves it on. -EOPNOTSUPP: it has none. Any thread. */
WARN_UNUSED int remote_mount_bring(const char *path, struct remote_step *step, struct error *err);

/* Asks the mount to "pin", "unpin" or "unpin.all" the path (browse_pin). */
WARN_UNUSED int remote_mount_do(const char *path, const char *what);
WARN_UNUSED int remote_mount_missing(const char *path, uint64_t *ret_bytes); /* browse_pin_missing */
int remote_mount_no_cache(struct error *err); /* says it: -EOPNOTSUPP */

#endif
