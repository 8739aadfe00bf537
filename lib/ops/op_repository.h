/*
 * What operations on repositories share. A repository is what the descriptor stands for that came with the request (context->fd; see
 * lib/repository/objects_open.h), its password is an argument. Internal to lib/ops.
 */
#ifndef CORPUSFS_OPS_OP_REPOSITORY_H
#define CORPUSFS_OPS_OP_REPOSITORY_H

#include "lib/backup/heads.h"
#include "lib/ops/ops.h"
#include "lib/repository/snapshot_file.h"
#include "lib/transfer/transfer.h"

/* Making: it need not be there yet. */
WARN_UNUSED int op_repository_objects(const struct op_context *context, bool making, struct objects **ret_objects, struct error *err);
/* Puts the argument "place", the repository's name for messages, before what opening or making it says. Returns `code`. */
WARN_UNUSED int op_repository_failed(const json_t *args, int code, struct error *err);
/* Its failures name the repository, if the arguments do. Who waits for a lock of it tells progress. */
WARN_UNUSED int op_repository_open(struct op_context *context, const json_t *args, struct repository **ret_repository, struct error *err);

/* Of a restore without "keep_going" that has met damage of the repository. */
void op_hint_keep_going(bool keep_going, struct error *err);

/*
 * The backup that the arguments name: "backup", as backup_find has it, or with "published" what was published under that name, whose head is in
 * ret_head. NULL: none is named. ret_head may be NULL; it and ret_backup are the caller's.
 */
WARN_UNUSED int op_repository_backup(const json_t *args, struct repository *repository, char **ret_backup, struct head *ret_head, struct error *err);

/* A row of backup.list. */
json_t *op_backup_to_json(const struct snapshot_file *snapshot);
json_t *op_damaged_backup_to_json(const char *name); /* of which no more is known */

/* Gathers problems as a list of {path, code, text}, and tells progress. */
struct op_problems {
	struct op_context *context;
	json_t *list;
};
struct transfer_options op_problems_options(struct op_problems *problems);

#endif
