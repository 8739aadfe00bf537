/*
 * What import, export and warm have in common: what was asked for, how far it is, and what could not be done. See import.h and export.h.
 *
 * A problem concerns one file: it is named and, unless the transfer is strict, the rest goes on. A failure concerns all that is left (no
 * room, damaged archive, cancelled): it ends the transfer; what is complete stays. A note says what was done differently from what somebody
 * may expect, although nothing went wrong.
 *
 * Threads: any, between transfer_begin and transfer_end.
 */
#ifndef CORPUSFS_TRANSFER_TRANSFER_H
#define CORPUSFS_TRANSFER_TRANSFER_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/impersonate.h"
#include "lib/store/store.h"

struct transfer_progress {
	const char *phase;    /* "check", "copy", "sync" */
	uint64_t done, total; /* bytes of content, of "check" those of the archive; total 0: not known (yet) */
	uint64_t files;
};

struct transfer_options {
	uid_t uid; /* whose rights are used outside the store, and, if that is not root, who owns what is made */
	gid_t gid;
	const gid_t *groups; /* supplementary ones */
	size_t group_count;
	bool strict; /* the first problem is a failure */
	bool all;    /* import: also what is there already */
	bool count;  /* find out the total first, beside the work */
	int (*progress)(void *arg, const struct transfer_progress *progress); /* several times a second, on the caller's thread; not 0: cancel */
	void (*problem)(void *arg, const char *path, int code, const char *text); /* one at a time, on any thread */
	void (*note)(void *arg, const char *text);                                /* likewise */
	void *arg;
};

struct transfer_counts {
	uint64_t files, directories, links, skipped, bytes, problems;
	uint64_t acls; /* files and directories that have one, of an import */
};

struct transfer {
	const struct transfer_options *options;
	struct impersonate caller;
	const char *phase;
	atomic_uint_fast64_t files, directories, links, skipped, bytes, skipped_bytes, problems, acls, total;
	atomic_bool stop;
	pthread_mutex_t lock; /* guards the failure, and the callbacks problem and note */
	struct error failure; /* code 0: none */
	pthread_cond_t changed; /* a thread of transfer_run has ended */
	unsigned running;
};

/* The calling thread must serve this caller only: see impersonate_prepare. */
void transfer_begin(struct transfer *transfer, const struct transfer_options *options);
/* What was done; the failure, if there was one, as result and in err. */
WARN_UNUSED int transfer_end(struct transfer *transfer, struct transfer_counts *ret_counts, struct error *err);

bool transfer_stopped(struct transfer *transfer);
/* "DIR/NAME" (either may be empty) could not be transferred; text NULL: what the code says. */
void transfer_problem(struct transfer *transfer, const char *dir, const char *name, int code, const char *text);
void transfer_note(struct transfer *transfer, const char *format, ...) PRINTF_LIKE(2, 3);
/* Only the first one counts. */
void transfer_fail(struct transfer *transfer, int code, const char *format, ...) PRINTF_LIKE(3, 4);
void transfer_fail_with(struct transfer *transfer, const struct error *err); /* the same, with what to do about it */
/* A result of the store: one that concerns everything is a failure, others the file's problem. */
void transfer_store_result(struct transfer *transfer, const char *dir, const char *name, int code);

/* Runs `count` threads, each function with `arg`, and tells of progress until all have returned. */
typedef void (*transfer_fn)(void *arg);
void transfer_run(struct transfer *transfer, const transfer_fn *functions, size_t count, void *arg);
void transfer_tell(struct transfer *transfer, const char *phase);
/* Of what is no content: how far it is. */
void transfer_tell_part(struct transfer *transfer, const char *phase, uint64_t done, uint64_t total);

unsigned transfer_workers(void); /* how many are worth while */

#endif
