/*
 * One table of operations: what the shell, the control socket and later HTTP offer. An operation is written once, takes a JSON object
 * (libjansson), gives rows as it finds them and a JSON object at its end, reports progress and can be cancelled. Names are
 * "snapshot.create"; arguments, rows and result are documented at each entry of the tables in this folder. Numbers are raw, times seconds
 * since 1970 (real, and KEY_ns in nanoseconds beside it) or integers, names of files and the like text by the rule of lib/ops/json.h.
 *
 * No answer is built whole in memory: what may be long comes as rows, each given to the caller before the next is made. A caller that is
 * slow to take a row holds the operation up; one that has gone ends it.
 *
 * Threads: op_run may be called from several at once; a row and progress are given on the caller's thread.
 */
#ifndef CORPUSFS_OPS_OPS_H
#define CORPUSFS_OPS_OPS_H

#include <jansson.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "lib/store/store.h"

/* What a caller may do; each role may do what those before it may. Who has which one is known where the caller comes in. */
enum op_role {
	OP_READER, /* look at what is in the store */
	OP_OWNER,  /* change it: root, and who owns the store */
};

struct leases; /* lib/backup/leases.h */

struct op_context {
	struct store *store;
	enum op_role role;
	uid_t uid; /* of the caller: owner of what it creates */
	gid_t gid;
	const gid_t *groups; /* supplementary ones */
	size_t group_count;
	/* May be NULL. Gets a borrowed object, e.g. {"phase": "mark", "done": 3, "total": 10}; "notice": what somebody should read, each time the same. */
	void (*progress)(void *arg, json_t *state);
	void *progress_arg;
	/* May be NULL: rows are not wanted. Gets a borrowed object; a negative errno ends the operation with that. */
	int (*row)(void *arg, json_t *row);
	void *row_arg;
	atomic_bool *cancelled; /* may be NULL */
	_Atomic uint64_t *net_bytes; /* grows with what comes and goes over the network; may be NULL */
	/*
	 * A descriptor that came with the request, or NULL. It is how a caller names what lies outside of the store: the same path may be
	 * another file for the process that runs the operation.
	 */
	const int *fd;
	/* What is written to, of operations that need no store and are run in the caller's own process; else NULL. */
	const int *target_fd;
	/* Whether a device is a mount of this store; NULL: there are no mounts. */
	bool (*is_own_mount)(void *arg, dev_t device);
	void *is_own_mount_arg;
	struct leases *leases; /* of what is mounted with one; NULL: there are no mounts */
};

struct op {
	const char *name;
	const char *summary;
	enum op_role role; /* the least that may call it */
	const char *rows;  /* what its rows are together, as a member of the result would be called; NULL: it gives none */
	/* The result is a new reference, and may be left NULL; -errno with err filled on failure. */
	int (*run)(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err);
};

const struct op *op_find(const char *name); /* NULL: none */

/* -EOPNOTSUPP, -EACCES: not for this role; else what the operation says. `args` is text by the rule of json.h. */
WARN_UNUSED int op_run(struct op_context *context, const char *name, const json_t *args, json_t **ret_result, struct error *err);

/* 0, or -EACCES with a text. */
WARN_UNUSED int op_check_role(enum op_role has, enum op_role needed, const char *name, struct error *err);

#endif
