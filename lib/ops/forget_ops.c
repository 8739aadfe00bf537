/* Backups that go, and the room of what no backup names. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/backup/backup_find.h"
#include "lib/backup/forget.h"
#include "lib/backup/heads.h"
#include "lib/backup/holds.h"
#include "lib/backup/prune.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/repository/locks.h"

static int forget_file(struct repository *repository, const char *name, struct error *err)
{
	int r = repository->objects->place->remove(repository->objects, OBJECT_SNAPSHOT, name);

	return r < 0 && r != -ENOENT ? error_set(err, r, "backup %.8s cannot be removed: %s", name, error_text(r)) : 0;
}

/* Who needs backups. */
struct keepers {
	struct heads heads;
	struct backup_holds holds;
};

static void keepers_clear(struct keepers *keepers)
{
	heads_clear(&keepers->heads);
	backup_holds_clear(&keepers->holds);
}

/* Nothing goes while nobody knows which version is the newest, and what is held. */
static int keepers_read(struct repository *repository, struct keepers *ret_keepers, struct error *err)
{
	int r = heads_read(repository, NULL, &ret_keepers->heads, err);

	if (r == 0)
		r = heads_check_newest(&ret_keepers->heads, err);
	return r == 0 ? backup_holds_read(repository, &ret_keepers->holds, err) : r;
}

static bool is_kept(const struct keepers *keepers, const char *backup)
{
	return heads_keeping(&keepers->heads, backup) || backup_holds_find(&keepers->holds, backup, NULL);
}

static int check_not_kept(const struct keepers *keepers, const char *backup, struct error *err)
{
	const struct head *head = heads_keeping(&keepers->heads, backup);
	const struct backup_hold *hold = backup_holds_find(&keepers->holds, backup, NULL);
	char shown[9];

	if (!head && hold) {
		(void)snprintf(shown, sizeof(shown), "%.8s", backup);
		(void)error_set(err, -EBUSY, "backup %s is held: \"%s\"%s%s", shown, hold->tag, hold->host && *hold->host ? ", by a user of " : "",
		                hold->host ? hold->host : "");
		error_hint_shell(err, "corpusfs backup release REPOSITORY@%s %s", shown, hold->tag);
		return -EBUSY;
	}
	if (!head)
		return 0;
	(void)error_set(err, -EBUSY, "backup %.8s is the newest version of \"%s\" that can be read, %s", backup, head->dataset, head->name);
	error_hint(err, "publish another version first");
	return -EBUSY;
}

/* Only its name is known of a damaged one. */
static int find_to_forget(struct repository *repository, const char *text, struct snapshot_file *ret_snapshot, struct error *err)
{
	struct snapshot_file damaged = {0};
	int r = backup_find(repository, text, ret_snapshot, NULL, err);

	if (r != -EBADMSG || !backup_find_damaged(repository, text, damaged.name))
		return r;
	*ret_snapshot = damaged;
	return 0;
}

static json_t *forgotten_row(const struct snapshot_file *snapshot)
{
	return snapshot->host ? op_backup_to_json(snapshot) : op_damaged_backup_to_json(snapshot->name);
}

static int forget_named(struct op_context *context, struct repository *repository, const json_t *names, bool dry_run, struct error *err)
{
	struct snapshot_files found = {0};
	struct keepers keepers = {0};
	const json_t *entry;
	int r = keepers_read(repository, &keepers, err);
	size_t i;

	/* All are looked for before the first one goes. */
	json_array_foreach(names, i, entry) {
		struct snapshot_file snapshot;

		if (r == 0)
			r = find_to_forget(repository, json_string_value(entry), &snapshot, err);
		if (r < 0)
			break;
		array_add(&found, snapshot);
		r = check_not_kept(&keepers, snapshot.name, err);
	}
	for (i = 0; i < found.count && r == 0; i++) {
		r = dry_run ? 0 : forget_file(repository, found.items[i].name, err);
		if (r == 0)
			r = op_row(context, forgotten_row(&found.items[i]));
	}
	keepers_clear(&keepers);
	snapshot_files_clear(&found);
	return r;
}

struct forgetting {
	struct keep_rules rules;
	const char *dataset_id; /* only backups with this tag; NULL: all */
	bool dry_run;
	int (*each)(void *arg, const struct snapshot_file *snapshot); /* for each that goes */
	void *arg;
};

static struct keep_rules keep_rules_of(const json_t *args)
{
	const json_t *keep = json_object_get(args, "keep");

	return (struct keep_rules){.last = (unsigned)op_arg_int(keep, "last", 0),
	                           .hourly = (unsigned)op_arg_int(keep, "hourly", 0),
	                           .daily = (unsigned)op_arg_int(keep, "daily", 0),
	                           .weekly = (unsigned)op_arg_int(keep, "weekly", 0),
	                           .monthly = (unsigned)op_arg_int(keep, "monthly", 0),
	                           .yearly = (unsigned)op_arg_int(keep, "yearly", 0)};
}

static int forget_by_rules(struct repository *repository, const struct forgetting *forgetting, struct error *err)
{
	struct snapshot_files snapshots = {0};
	struct keepers keepers = {0};
	AUTO_FREE bool *keeps = NULL;
	int r = snapshot_files_read(repository, false, &snapshots, err);

	if (r == 0)
		r = keepers_read(repository, &keepers, err);
	keeps = xcalloc(snapshots.count + 1, sizeof(*keeps));
	forget_apply(&forgetting->rules, &snapshots, keeps);
	for (size_t i = 0; i < snapshots.count && r == 0; i++) {
		const char *of = snapshot_file_tag_value(&snapshots.items[i], "dataset-id");

		if (keeps[i] || is_kept(&keepers, snapshots.items[i].name) || (forgetting->dataset_id && (!of || strcmp(of, forgetting->dataset_id) != 0)))
			continue;
		r = forgetting->dry_run ? 0 : forget_file(repository, snapshots.items[i].name, err);
		if (r == 0)
			r = forgetting->each(forgetting->arg, &snapshots.items[i]);
	}
	keepers_clear(&keepers);
	snapshot_files_clear(&snapshots);
	return r;
}

static int give_row(void *arg, const struct snapshot_file *snapshot)
{
	return op_row(arg, op_backup_to_json(snapshot));
}

/*
 * backup.forget: {password, backups: [name, ...] or keep: {last, hourly, daily, weekly, monthly, yearly}, dataset_id?: only backups that have it,
 * dry_run?} -> rows as backup.list with_damaged: what goes. The head of what was published stays, and what is held.
 */
static int forget_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const json_t *names = json_object_get(args, "backups");
	const struct forgetting forgetting = {.rules = keep_rules_of(args), .dataset_id = op_arg_string_or(args, "dataset_id", NULL),
	                                      .dry_run = op_arg_bool(args, "dry_run"), .each = give_row, .arg = context};
	struct repository_lock *lock = NULL;
	struct repository *repository = NULL;
	int r = 0;

	(void)ret_result;
	if ((json_array_size(names) > 0) == keep_rules_any(&forgetting.rules)) {
		r = error_set(err, -EINVAL, "name the backups that are to go, or say what is to stay");
		error_hint(err, "corpusfs backup forget REPOSITORY BACKUP..., or with --keep-last 3, --keep-daily 7 and the like");
	}
	if (r == 0)
		r = op_repository_open(context, args, &repository, err);
	if (r == 0)
		r = repository_lock_take(repository, true, &lock, err);
	if (r == 0)
		r = json_array_size(names) > 0 ? forget_named(context, repository, names, forgetting.dry_run, err)
		                               : forget_by_rules(repository, &forgetting, err);
	repository_lock_release(lock);
	repository_close(repository);
	return r;
}

/* --- pruning --- */

#define MAX_UNUSED 5

/* What is forgotten before a prune, for who asked, and for the prune. */
struct forgotten {
	json_t *rows;
	struct object_names names;
};

static int note_forgotten(void *arg, const struct snapshot_file *snapshot)
{
	struct forgotten *forgotten = arg;
	struct blob_id id;

	json_array_append_new(forgotten->rows, op_backup_to_json(snapshot));
	if (blob_id_parse(snapshot->name, &id) == 0)
		array_add(&forgotten->names, id);
	return 0;
}

/* The prune failed, and these are gone. */
static void name_forgotten(const struct object_names *names, uint64_t count, struct error *err)
{
	const struct error why = *err;
	AUTO_BUF text = BUF_INIT;

	for (size_t i = 0; i < count; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&names->items[i], name);
		buf_addf(&text, "%s%.8s", i > 0 ? ", " : "", name);
	}
	(void)error_set(err, why.code, "%s; forgotten by then: %.*s", why.text, (int)text.len, (const char *)text.data);
	error_hint(err, "%s", why.hint);
}

/*
 * backup.prune: {password, keep?: as for backup.forget, which comes first, dry_run?} -> {packs, packs_removed, packs_rewritten, no_room: to write
 * some anew, needed: bytes with which more can go then, bytes, bytes_freed, left, left_bytes, forgotten: rows as backup.list}
 */
static int prune_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_problems problems = {.context = context, .list = json_array()};
	struct forgotten forgotten = {.rows = json_array()};
	/* They go when it is known that the rest can be pruned. */
	const struct forgetting forgetting = {.rules = keep_rules_of(args), .dry_run = true, .each = note_forgotten, .arg = &forgotten};
	struct prune_options options = {.transfer = op_problems_options(&problems), .dry_run = op_arg_bool(args, "dry_run"), .max_unused = MAX_UNUSED,
	                                .forget = &forgotten.names};
	struct prune_counts counts = {0};
	int r = op_repository_open(context, args, &options.repository, err);

	if (r == 0)
		r = repository_lock_take(options.repository, true, &options.lock, err);
	if (r == 0 && keep_rules_any(&forgetting.rules))
		r = forget_by_rules(options.repository, &forgetting, err);
	object_names_sort(&forgotten.names);
	if (r == 0)
		r = prune_run(&options, &counts, err);
	if (r < 0 && counts.forgotten > 0) {
		(void)error_default(err, r, "the repository cannot be pruned");
		name_forgotten(&forgotten.names, counts.forgotten, err);
	}
	if (r == 0)
		*ret_result = json_pack("{s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:O}", "packs", (json_int_t)counts.packs, "packs_removed",
		                        (json_int_t)counts.packs_removed, "packs_rewritten", (json_int_t)counts.packs_rewritten, "no_room",
		                        counts.no_room, "needed", (json_int_t)counts.needed, "bytes", (json_int_t)counts.bytes, "bytes_freed",
		                        (json_int_t)counts.bytes_freed, "left", (json_int_t)counts.left.count,
		                        "left_bytes", (json_int_t)counts.left.bytes, "forgotten", forgotten.rows);
	json_decref(problems.list);
	json_decref(forgotten.rows);
	array_clear(&forgotten.names);
	repository_lock_release(options.lock);
	repository_close(options.repository);
	return r;
}

const struct op forget_ops[] = {
	{"backup.forget", "let backups go", OP_OWNER, "backups", forget_op},
	{"backup.prune", "give back the room of what no backup names", OP_OWNER, NULL, prune_op},
	{NULL},
};
