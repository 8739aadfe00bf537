/* What a mount is asked to be, and where a group of mounts writes its log. */
#ifndef CORPUSFS_FUSE_GROUP_OPTIONS_H
#define CORPUSFS_FUSE_GROUP_OPTIONS_H

#include <stdbool.h>

enum snapdir { SNAPDIR_HIDDEN, SNAPDIR_VISIBLE, SNAPDIR_OFF };

struct mount_options {
	const char *mountpoint; /* absolute */
	const char *dataset;    /* NULL: the whole store */
	const char *snapshot;   /* NULL: the head(s) */
	bool read_only, allow_other, acl, debug;
	bool supervise; /* another daemon must be able to go on with it, so it has no rings (rings.h) */
	bool deep_idle; /* processors may sleep between requests (latency.h) */
	enum snapdir snapdir;
	const char *extra; /* further options for the kernel (nosuid,nodev,...), comma separated; "" for none */
};

struct mount_log {
	void (*line)(void *arg, const char *level, const char *text); /* level: "error", "warning", "info" */
	void *arg;
};

#endif
