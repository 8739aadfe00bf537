/*
 * Runs operations where the store is: in this process when it is free, through its daemon's socket when it is mounted.
 * A lock that is taken and given back between the two looks is waited for shortly.
 */
#ifndef CORPUSFS_CLI_RUN_H
#define CORPUSFS_CLI_RUN_H

#include <jansson.h>

#include "fs/cli/command.h"

/*
 * The absolute path of the store meant: -s, $CORPUSFS_STORE, or that of the mount the current directory stands in.
 * Freed by the caller.
 */
WARN_UNUSED int run_find_store(const struct cli *cli, char **ret_store, struct error *err);

/* Takes over `args`. `title` is for the progress bar of long operations, or NULL. */
WARN_UNUSED int run_op_at(const char *store, const char *op, json_t *args, const char *title, json_t **ret_result,
                          struct error *err);

/* The same with a descriptor for the operation to read or write. */
WARN_UNUSED int run_op_with(const char *store, const char *op, json_t *args, int fd, const char *title, json_t **ret_result,
                            struct error *err);

/*
 * For commands: finds the store, runs, prints an error if there is one, returns the exit code. ret_result may be NULL.
 */
WARN_UNUSED int run_op(const struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result);

/*
 * A loop of attempts while somebody else has the store for a moment: returns false when it is time to give up. A
 * daemon that starts or leaves is given a minute, others three seconds.
 */
struct patience {
	unsigned long long started_ms;
};
bool run_wait(struct patience *patience, const char *store);

#endif
