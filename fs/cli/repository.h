/* What commands on repositories of backups share. */
#ifndef CORPUSFS_CLI_REPOSITORY_H
#define CORPUSFS_CLI_REPOSITORY_H

#include <jansson.h>

#include "fs/cli/command.h"

/* Of a remote with etcd, for repository_open_place. */
#define OPTION_STALE_OK                                                                        \
	{                                                                                      \
		0, "stale-ok", NULL, "of a remote with etcd: an older version is good enough" \
	}

/*
 * Opens the directory, or describes what is on the network (repository_url.h); make: a directory is made. `name` may be that of a remote, which is
 * then in cli->remote (cli may be NULL).
 */
WARN_UNUSED int repository_open_place(struct cli *cli, const char *name, bool make, int *ret_fd, struct error *err);

/*
 * Whether it can be the name of a repository that is no remote's: -EINVAL. What has a user or a password in it, as URLs and other programs' names of
 * repositories may, is refused, and stands in no message.
 */
WARN_UNUSED int repository_name_check(const char *name, struct error *err);

/* The name that means the same from everywhere; NULL: there is none. Ends with free(). */
char *repository_absolute(const char *name);

/*
 * What an operand says: "REPO", "REPO@BACKUP", of a remote "NAME:", "NAME:@BACKUP", or "NAME:DATASET[@VERSION]", which is what was published.
 */
struct repository_name {
	char *place;        /* owned: the repository, or "NAME:" */
	const char *backup; /* in the operand, which must stay; NULL: none is named */
	bool is_published;
};
struct repository_name repository_name_of(const char *text);
void repository_name_set(const struct repository_name *name, json_t *args); /* "place", "backup" and "published", for operations */
void repository_name_clear(struct repository_name *name);

/* Adds "short", the first digits of "backup", to a row. */
void repository_add_short(json_t *row);

/* {dataset_id: when its newest backup was taken} of rows with "dataset_id", "taken" and "incomplete"; incomplete ones do not count. */
json_t *repository_verified(const json_t *rows);
/* Keeps for status and report how a drill or a verification went (failure NULL: well), if a store is named that makes backups there by the clock. */
void repository_note(struct cli *cli, const char *kind, double seconds, json_t *verified, const char *failure);

/*
 * The exit code of a command that failed, which is told: what its hint calls REPOSITORY is the caller's name for it. One that was interrupted
 * says `interrupted` (NULL: to run the same command again), and the process ends by the signal.
 */
int repository_exit(const char *place, struct error *err, const char *interrupted);

/* Runs an operation on the repository that the first operand names; takes over args. */
WARN_UNUSED int repository_try(struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result, struct error *err);
/* The same. Errors are printed; returns the exit code. */
int repository_ask(struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result);

void repository_print_json(const json_t *result);

#endif
