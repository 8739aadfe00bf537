/*
 * Healing content from files outside of the store: every file of a directory is cut and hashed as a write would be, and what matches a damaged
 * chunk by SHA-256 is stored and read instead of it, in all datasets and snapshots. Names and places do not matter. Nothing that is there is
 * changed or removed. Any thread.
 */
#ifndef CORPUSFS_VERIFY_REPAIR_CONTENT_H
#define CORPUSFS_VERIFY_REPAIR_CONTENT_H

#include "lib/base/impersonate.h"
#include "lib/store/store.h"

struct repair_content_options {
	int source;                    /* a directory, or one file; stays the caller's */
	const struct impersonate *who; /* with whose rights it is read */
	bool apply;                    /* else it is only counted */
	int (*progress)(void *arg, uint64_t files, uint64_t bytes); /* called often; not 0: stop with -ECANCELED */
	void *arg;
};

struct repair_content_sum {
	uint64_t files, bytes;        /* looked at */
	uint64_t healed, healed_bytes; /* chunks that were found there */
	uint64_t left;                /* damaged, and not found */
	uint64_t unread;              /* files and directories that could not be read */
};

WARN_UNUSED int repair_content(struct store *store, const struct repair_content_options *options, struct repair_content_sum *ret_sum,
			       struct error *err);

#endif
