/*
 * Runs operations where the store is: in this process when it is free, through its daemon's socket when it is mounted.
 * A lock that is taken and given back between the two looks is waited for shortly. The rows of an operation are passed on as they come,
 * or gathered in its result under the name that the table of operations has for them, where only a few can come.
 */
#ifndef CORPUSFS_CLI_RUN_H
#define CORPUSFS_CLI_RUN_H

#include <jansson.h>

#include "fs/cli/command.h"

/*
 * The absolute path of the store meant: -s, $CORPUSFS_STORE, or that of the mount the current directory stands in.
 * Freed by the caller. With --as-owner the process is the store's owner from then on.
 */
WARN_UNUSED int run_find_store(const struct cli *cli, char **ret_store, struct error *err);
/* The same of whoever asks no daemon, which may not answer, and stays who he is. ret_path: by which it was found, owned; may be NULL. */
WARN_UNUSED int run_name_store(const struct cli *cli, char **ret_store, char **ret_path, struct error *err);

/* Takes over `args`. `title` is for the progress bar of long operations, or NULL. */
WARN_UNUSED int run_op_at(const char *store, const char *op, json_t *args, const char *title, json_t **ret_result,
                          struct error *err);

/* The same with a descriptor for the operation to read or write. */
WARN_UNUSED int run_op_with(const char *store, const char *op, json_t *args, int fd, const char *title, json_t **ret_result,
                            struct error *err);

/* Where rows go: a borrowed object each; a negative errno ends the operation. */
typedef int (*run_row_fn)(void *arg, json_t *row);

/* The same, with rows passed on: also those that came before a failure. */
WARN_UNUSED int run_op_rows_with(const char *store, const char *op, json_t *args, int fd, const char *title, run_row_fn row, void *row_arg,
                                 struct error *err);

/* The same, with what the operation gives beside its rows. */
WARN_UNUSED int run_op_rows_at(const char *store, const char *op, json_t *args, run_row_fn row, void *row_arg, json_t **ret_result, struct error *err);

/* Both: rows that are passed on, and a result. */
struct rows {
	run_row_fn take;
	void *arg;
};
WARN_UNUSED int run_op_both_with(const char *store, const char *op, json_t *args, int fd, const char *title, struct rows rows, json_t **ret_result,
                                 struct error *err);

/* An operation that needs no store: it runs in this process. Descriptors that it does not need are -1. */
WARN_UNUSED int run_op_alone(const char *op, json_t *args, int fd, int target_fd, const char *title, json_t **ret_result, struct error *err);

/* The same with rows passed on. What was passed on before a failure is an answer that is not complete. */
WARN_UNUSED int run_op_alone_rows_with(const char *op, json_t *args, int fd, int target_fd, const char *title, run_row_fn row, void *row_arg,
				       json_t **ret_result, struct error *err);
WARN_UNUSED int run_op_alone_rows(const char *op, json_t *args, int fd, run_row_fn row, void *row_arg, json_t **ret_result, struct error *err);

/*
 * For commands: finds the store, runs, prints an error if there is one, returns the exit code. ret_result may be NULL.
 */
WARN_UNUSED int run_op(const struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result);

/*
 * The same of long work that Ctrl-C ends in good order, in this process or in the daemon: `interrupted` says what is left then, and how to go on.
 * The process ends by the signal.
 */
WARN_UNUSED int run_op_interruptible(const struct cli *cli, const char *op, json_t *args, const char *title, const char *interrupted,
                                     json_t **ret_result);

/* The same as run_op with rows passed on. */
WARN_UNUSED int run_op_rows(const struct cli *cli, const char *op, json_t *args, run_row_fn row, void *row_arg, json_t **ret_result);

/*
 * A loop of attempts while somebody else has the store for a moment: returns false when it is time to give up. A daemon that starts or
 * leaves is given a minute, others three seconds. Where nobody of this filesystem has it, one look more is enough.
 */
struct patience {
	unsigned long long started_ms;
	bool told; /* on standard error, that a daemon waits for its disk */
};
bool run_wait(struct patience *patience, const char *store);

bool run_is_supervised(pid_t daemon); /* another goes on when it dies */
int run_open_supervisor(const char *store); /* of the daemon that has the store: a descriptor that is readable when it has ended; -1: none */
bool run_is_daemon(pid_t pid); /* by its name */

#endif
