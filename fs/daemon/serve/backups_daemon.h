/*
 * A process that mounts the backups of a repository and leaves when it is unmounted, or told to by SIGTERM or SIGINT; then the mount goes in any
 * case. Its log goes to a file, or to syslog.
 */
#ifndef CORPUSFS_DAEMON_SERVE_BACKUPS_DAEMON_H
#define CORPUSFS_DAEMON_SERVE_BACKUPS_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/error.h"
#include "lib/browse/browsing.h"

struct backups_daemon_options {
	struct browsing_options browsing; /* but for `problem` */
	const char *mountpoint;           /* an absolute path */
	const char *log;                  /* the same; NULL: syslog */
	bool allow_other, debug;
	const char *extra; /* mount options for the kernel, or NULL */
};

/* Returns when the mount answers. */
WARN_UNUSED int backups_daemon_start(const struct backups_daemon_options *options, struct error *err);

#endif
