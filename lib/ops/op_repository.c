#include "lib/ops/op_repository.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/backup/backup_find.h"
#include "lib/base/clock.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_views.h"
#include "lib/repository/objects_open.h"

int op_repository_objects(const struct op_context *context, bool making, struct objects **ret_objects, struct error *err)
{
	int fd;

	if (op_is_in_own_mount(context)) {
		(void)error_set(err, -EINVAL, "the repository lies in a mount of the same store");
		error_hint(err, "a backup that lies in the store which it is of does not survive it: take another disk");
		return -EINVAL;
	}
	fd = context->fd ? fcntl(*context->fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (fd < 0)
		return error_set(err, -EBADF, "no descriptor of a repository came with the request");
	return objects_open(fd, making, context->net_bytes, ret_objects, err);
}

int op_repository_failed(const json_t *args, int code, struct error *err)
{
	const char *place = op_arg_string_or(args, "place", NULL);
	struct error was;

	if (code >= 0 || !err || !place)
		return code;
	was = *err;
	(void)error_set(err, code, "%s: %s", place, was.text);
	if (was.hint[0])
		error_hint(err, "%s", was.hint);
	return code;
}

static int wait_for_lock(void *arg, const char *why, unsigned second, unsigned seconds)
{
	struct op_context *context = arg;
	json_t *state;

	if (op_cancelled(context))
		return -ECANCELED;
	if (context->progress) {
		state = json_pack("{s:s, s:i, s:i, s:s}", "phase", "lock", "done", (int)second, "total", (int)seconds, "notice", why);
		context->progress(context->progress_arg, state);
		json_decref(state);
	}
	clock_pause_us(1000000);
	return 0;
}

int op_repository_open(struct op_context *context, const json_t *args, struct repository **ret_repository, struct error *err)
{
	struct objects *objects = NULL;
	const char *password;
	int r = op_arg_string(args, "password", &password, err);

	if (r == 0)
		r = op_repository_objects(context, false, &objects, err);
	if (r == 0)
		r = op_repository_failed(args, repository_open(objects, password, ret_repository, err), err);
	if (r == 0) {
		(*ret_repository)->waits = wait_for_lock;
		(*ret_repository)->waits_arg = context;
	}
	return r;
}

int op_repository_backup(const json_t *args, struct repository *repository, char **ret_backup, struct head *ret_head, struct error *err)
{
	const char *backup = op_arg_string_or(args, "backup", NULL);
	struct head head = {0};
	int r;

	if (!backup || !op_arg_bool(args, "published")) {
		*ret_backup = xstrdup_or_null(backup);
		return 0;
	}
	r = head_find(repository, backup, &head, err);
	if (r < 0)
		return r;
	*ret_backup = xstrdup(head.backup);
	if (ret_head)
		*ret_head = head;
	else
		head_clear(&head);
	return 0;
}

json_t *op_backup_to_json(const struct snapshot_file *snapshot)
{
	const char *type = snapshot_file_tag_value(snapshot, "type"), *of = snapshot_file_tag_value(snapshot, "snapshot");
	const char *identity = snapshot_file_tag_value(snapshot, "identity");
	char parent[BLOB_ID_TEXT] = "";
	json_t *object;

	if (snapshot->has_parent)
		blob_id_text(&snapshot->parent, parent);
	object = json_pack("{s:s, s:o, s:s*, s:o*, s:s, s:s*, s:s*, s:b, s:o}", "backup", snapshot->name, "dataset", json_from_bytes(backup_dataset(snapshot)),
	                 "dataset_id", snapshot_file_tag_value(snapshot, "dataset-id"), "snapshot", json_from_bytes(of), "type", type ? type : "restic",
	                 "base", parent[0] ? parent : NULL, "identity", identity, "incomplete", snapshot_file_has_tag(snapshot, "incomplete"), "host",
	                 json_from_bytes(snapshot->host));
	op_set_time(object, "taken", snapshot->time);
	if (snapshot_file_tag_value(snapshot, "published"))
		json_object_set_new(object, "published", json_from_bytes(snapshot_file_tag_value(snapshot, "published")));
	return object;
}

json_t *op_damaged_backup_to_json(const char *name)
{
	return json_pack("{s:s, s:b}", "backup", name, "damaged", true);
}

void op_hint_keep_going(bool keep_going, struct error *err)
{
	if (err->code == -EBADMSG && !keep_going && !err->hint[0])
		error_hint(err, "corpusfs backup verify REPOSITORY --data lists what is damaged, and corpusfs backup rebuild-index REPOSITORY finds again what "
		                "no index names; with --keep-going the rest comes");
}

static int tell_progress(void *arg, const struct transfer_progress *progress)
{
	struct op_context *context = ((struct op_problems *)arg)->context;
	json_t *state;

	if (op_cancelled(context))
		return -ECANCELED;
	if (!context->progress)
		return 0;
	state = json_pack("{s:s, s:I, s:I, s:I, s:s}", "phase", progress->phase, "done", (json_int_t)progress->done, "total",
	                  (json_int_t)progress->total, "files", (json_int_t)progress->files, "unit", "bytes");
	context->progress(context->progress_arg, state);
	json_decref(state);
	return 0;
}

static void tell_problem(void *arg, const char *path, int code, const char *text)
{
	const char *name = strerrorname_np(code == -EBADMSG ? EIO : -code);

	json_array_append_new(((struct op_problems *)arg)->list, json_pack("{s:o, s:s, s:o}", "path", json_from_bytes(path), "code",
	                                                                   name ? name : "EIO", "text", json_from_bytes(text)));
}

struct transfer_options op_problems_options(struct op_problems *problems)
{
	const struct op_context *context = problems->context;

	return (struct transfer_options){.uid = context->uid, .gid = context->gid, .groups = context->groups, .group_count = context->group_count,
	                                 .progress = tell_progress, .problem = tell_problem, .arg = problems};
}
