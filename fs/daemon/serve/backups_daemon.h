/*
 * A process that mounts the backups of a repository and leaves when it is unmounted, or told to by SIGTERM or SIGINT; then the mount goes in any
 * case. Its log goes to a file, or to syslog.
 */
#ifndef CORPUSFS_DAEMON_SERVE_BACKUPS_DAEMON_H
#define CORPUSFS_DAEMON_SERVE_BACKUPS_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

struct backups_daemon_options {
	const char *repository, *mountpoint; /* absolute paths, or a repository's URL */
	const struct buf *description;       /* of a repository on the network (lib/repository/objects_open.h); NULL: it is a directory */
	const char *password;
	const char *backup; /* as backup_find has it; NULL: all of them */
	bool is_published;  /* it is a version that was published, as head_find has it: the root is its dataset */
	const char *log;    /* an absolute path; NULL: syslog */
	size_t cache_bytes;
	const char *cache_dir; /* an absolute path: what is fetched is kept there (lib/browse/cache_dir.h); NULL: it is not */
	uint64_t cache_dir_bytes;
	uint64_t patience_ms; /* how long who reads waits for the place, if it is on the network */
	bool allow_other, debug;
	const char *extra; /* mount options for the kernel, or NULL */
};

/* Returns when the mount answers. */
WARN_UNUSED int backups_daemon_start(const struct backups_daemon_options *options, struct error *err);

#endif
