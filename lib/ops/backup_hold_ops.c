/* Holds on backups (lib/backup/holds.h). */
#include <errno.h>
#include <string.h>

#include "lib/backup/backup_find.h"
#include "lib/backup/holds.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/repository/locks.h"

typedef int (*change_fn)(struct repository *repository, const char *backup, const char *tag, struct error *err);

/* A backup that is gone or damaged is named by all of its name, or by as much as is shown of it. */
static bool find_held(struct repository *repository, const char *text, char ret_backup[BLOB_ID_TEXT])
{
	struct backup_holds holds = {0};
	bool is_found = false;
	const int r = strlen(text) >= 8 ? backup_holds_read(repository, &holds, NULL) : -ENOENT;

	for (size_t i = 0; r == 0 && i < holds.count && !is_found; i++) {
		is_found = strncmp(holds.items[i].backup, text, strlen(text)) == 0;
		if (is_found)
			memcpy(ret_backup, holds.items[i].backup, BLOB_ID_TEXT);
	}
	backup_holds_clear(&holds);
	return is_found;
}

static int find(const json_t *args, struct repository *repository, bool releases, char ret_backup[BLOB_ID_TEXT], struct error *err)
{
	AUTO_FREE char *backup = NULL;
	struct snapshot_file snapshot = {0};
	int r = op_repository_backup(args, repository, &backup, NULL, err);

	if (r == 0 && !backup)
		r = error_set(err, -EINVAL, "which backup is meant must be said: REPO@BACKUP, as corpusfs backup list shows it");
	if (r == 0)
		r = backup_find(repository, backup, &snapshot, NULL, err);
	if (r == 0)
		memcpy(ret_backup, snapshot.name, BLOB_ID_TEXT);
	else if ((r == -ENOENT || r == -EBADMSG) && releases && backup && find_held(repository, backup, ret_backup))
		r = 0;
	snapshot_file_clear(&snapshot);
	return r;
}

/* Under a lock of writers: who forgets has one alone. */
static int change(struct op_context *context, const json_t *args, bool releases, json_t **ret_result, struct error *err)
{
	const change_fn to = releases ? backup_hold_release : backup_hold_put;
	struct repository *repository = NULL;
	struct repository_lock *lock = NULL;
	char backup[BLOB_ID_TEXT];
	const char *tag;
	int r = op_arg_string(args, "tag", &tag, err);

	if (r == 0)
		r = op_repository_open(context, args, &repository, err);
	if (r == 0)
		r = repository_lock_take(repository, false, &lock, err);
	if (r == 0)
		r = find(args, repository, releases, backup, err);
	if (r == 0)
		r = repository_lock_check(lock, err);
	if (r == 0)
		r = to(repository, backup, tag, err);
	if (r == 0)
		*ret_result = json_pack("{s:s, s:s}", "backup", backup, "tag", tag);
	repository_lock_release(lock);
	repository_close(repository);
	return r;
}

/* backup.hold: {password, backup, published?, tag} -> {backup, tag}: nothing lets it go until it is released */
static int hold_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	return change(context, args, false, ret_result, err);
}

/* backup.release: {password, backup: may be gone or damaged, published?, tag} -> {backup, tag} */
static int release_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	return change(context, args, true, ret_result, err);
}

const struct op backup_hold_ops[] = {
	{"backup.hold", "keep a backup from being let go", OP_OWNER, NULL, hold_op},
	{"backup.release", "end a hold of a backup", OP_OWNER, NULL, release_op},
	{NULL},
};
