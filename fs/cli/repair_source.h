/*
 * Where `repair --from` looks: another store, a repository of backups, or whatever import reads. It is opened with the user's rights, before
 * anything is done, so that a name which is wrong is told first.
 *
 *   repair_source_open -> repair_source_look -> repair_source_clear
 */
#ifndef CORPUSFS_CLI_REPAIR_SOURCE_H
#define CORPUSFS_CLI_REPAIR_SOURCE_H

#include "fs/cli/run.h"

enum repair_source_kind { REPAIR_STORE, REPAIR_REPOSITORY, REPAIR_OUTSIDE };

struct repair_source {
	const char *name; /* as the user gave it; borrowed */
	enum repair_source_kind kind;
	int fd;       /* of what is no store; else -1 */
	char *store;  /* its absolute path, or NULL */
	json_t *args; /* of a repository: place, backup, password; else NULL */
};

/* `own`: the store that is to be healed. Of a repository the password is asked for, by the options of cli. */
WARN_UNUSED int repair_source_open(struct cli *cli, const char *name, const char *own, struct repair_source *ret_source, struct error *err);
void repair_source_clear(struct repair_source *source);
const char *repair_source_kind(const struct repair_source *source); /* for people: "store", ... */

/*
 * Looks for pieces. `args`: {sought, chunk_min, chunk_average, chunk_max}, borrowed. Each that is found is given as a row; with a spool (or
 * -1) its bytes are in it by then. Between rows the callback may empty the spool, but for a store: there only `step` may, which is called when
 * some were given. *ret_result: {files, bytes, unread, problem?}.
 */
WARN_UNUSED int repair_source_look(const struct repair_source *source, const json_t *args, int spool, run_row_fn row, int (*step)(void *arg), void *arg,
				   json_t **ret_result, struct error *err);

#endif
