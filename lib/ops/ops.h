/*
 * One table of operations: what the shell, the control socket and later HTTP offer. An operation is written once,
 * takes and gives JSON objects (libjansson), reports progress and can be cancelled. Names are "snapshot.create";
 * arguments and results are documented at each entry of the tables in this folder. Raw numbers, times as seconds since
 * 1970 (real) or integers, names as strings.
 *
 * Threads: op_run may be called from several at once.
 */
#ifndef CORPUSFS_OPS_OPS_H
#define CORPUSFS_OPS_OPS_H

#include <jansson.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "lib/store/store.h"

struct op_context {
	struct store *store;
	uid_t uid; /* of the caller: owner of what it creates */
	gid_t gid;
	const gid_t *groups; /* supplementary ones */
	size_t group_count;
	/* May be NULL. Gets a borrowed object, e.g. {"phase": "mark", "done": 3, "total": 10}. */
	void (*progress)(void *arg, json_t *state);
	void *progress_arg;
	atomic_bool *cancelled; /* may be NULL */
	/*
	 * A descriptor that came with the request, or NULL. It is how a caller names what lies outside of the store: the same path may be
	 * another file for the process that runs the operation.
	 */
	const int *fd;
	/* Whether a device is a mount of this store; NULL: there are no mounts. */
	bool (*is_own_mount)(void *arg, dev_t device);
	void *is_own_mount_arg;
};

struct op {
	const char *name;
	const char *summary;
	/* The result is a new reference; -errno with err filled on failure. */
	int (*run)(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err);
};

/* Tables end with an entry whose name is NULL. Each file of this folder that defines one is listed in ops.c. */
extern const struct op store_ops[], dataset_ops[], snapshot_ops[], identity_ops[], gc_ops[], history_ops[], transfer_ops[];

const struct op *op_find(const char *name); /* NULL: none */
WARN_UNUSED int op_run(struct op_context *context, const char *name, const json_t *args, json_t **ret_result, struct error *err);

/*
 * For implementations: arguments with type checks. Missing ones give `fallback` or, for op_arg_string, -EINVAL with a
 * text.
 */
WARN_UNUSED int op_arg_string(const json_t *args, const char *key, const char **ret_value, struct error *err);
const char *op_arg_string_or(const json_t *args, const char *key, const char *fallback);
bool op_arg_bool(const json_t *args, const char *key);
int64_t op_arg_int(const json_t *args, const char *key, int64_t fallback);

#endif
