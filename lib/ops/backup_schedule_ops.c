/* Backups by the clock: what is planned, what is due, and how it went. Who makes them is the command (fs/cli/cmd_backup_schedule.c). */
#include <errno.h>
#include <string.h>

#include "lib/backup/backup.h"
#include "lib/backup/backup_schedule.h"
#include "lib/backup/verified.h"
#include "lib/base/clock.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_backups.h"
#include "lib/ops/op_tables.h"
#include "lib/store/unknown.h"

/* backup.schedule.get: {dataset} -> {repository, password_file?, every: {kind: period}, keep: {...}, memory?, done}, or {} when nothing is planned */
static int get_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset;
	json_t *entry;
	int r = op_arg_string(args, "dataset", &dataset, err);

	if (r == 0)
		r = backup_schedule_get(context->store, dataset, &entry, err);
	if (r == 0)
		*ret_result = entry ? entry : json_object();
	return r;
}

/* {kind: {"time"}} of {kind: when the newest backup was taken}. What a backup holds was there then, so that is its time. */
static json_t *done_of_taken(const json_t *taken)
{
	json_t *done = json_object(), *time;
	const char *type;

	json_object_foreach((json_t *)taken, type, time) {
		enum backup_kind kind;

		if (backup_kind_parse(type, &kind) == 0 && json_is_number(time))
			json_object_set_new(done, type, json_pack("{s:I}", "time", (json_int_t)json_number_value(time)));
	}
	return done;
}

static int add_made(struct store *store, const char *dataset, const json_t *made, json_t *entry, struct error *err)
{
	struct dataset_info info;
	int r = dataset_get(store, dataset, &info);

	if (r < 0)
		return unknown_or_failed(store, dataset, NULL, r, err);
	AUTO_FREE char *id = backup_dataset_id(store, info.id);
	json_object_set_new(entry, "done", done_of_taken(json_object_get(made, id)));
	return 0;
}

/*
 * backup.schedule.set: {dataset, repository, password_file?, every, keep?, memory?: of drills, made?: {dataset_id: {type: when the newest one was
 * taken}}: what the repository has, which counts} -> {}; without a repository nothing is planned any more
 */
static int set_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset;
	json_t *entry = json_object();
	int r = op_arg_string(args, "dataset", &dataset, err);

	(void)ret_result;
	for (size_t i = 0; i < 5; i++) {
		static const char *const keys[] = {"repository", "password_file", "every", "keep", "memory"};
		json_t *value = json_object_get(args, keys[i]);

		if (value)
			json_object_set(entry, keys[i], value);
	}
	if (r == 0)
		r = add_made(context->store, dataset, json_object_get(args, "made"), entry, err);
	if (r == 0)
		r = backup_schedule_set(context->store, dataset, json_object_get(entry, "repository") ? entry : NULL, err);
	json_decref(entry);
	return r;
}

struct asking {
	struct op_context *context;
	int64_t now;
};

static int row_if_due(void *arg, const struct dataset_info *dataset, const json_t *entry)
{
	const struct asking *asking = arg;
	enum backup_kind kind;
	AUTO_FREE char *id = backup_dataset_id(asking->context->store, dataset->id);

	if (!backup_schedule_due(entry, asking->now, &kind))
		return 0;
	return op_row(asking->context, json_pack("{s:o, s:s, s:s, s:O, s:O*, s:O?, s:O*}", "dataset", json_from_bytes(dataset->name), "dataset_id", id, "kind",
	                                         backup_kind_text(kind), "repository", json_object_get(entry, "repository"), "password_file",
	                                         json_object_get(entry, "password_file"), "keep", json_object_get(entry, "keep"), "memory",
	                                         json_object_get(entry, "memory")));
}

/* backup.due: {} -> rows {dataset, dataset_id, kind, repository, password_file?, keep, memory?}: what is to be done now, one for each dataset */
static int due_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct asking asking = {context, clock_now().tv_sec};
	int r = backup_schedule_each(context->store, row_if_due, &asking);

	(void)args;
	(void)ret_result;
	return r < 0 ? error_default(err, r, "the schedules of backups could not be read: %s", strerror(-r)) : 0;
}

/*
 * backup.note: {dataset?, repository, kind, failure?, seconds?, verified?: {dataset_id: when the newest of its backups was taken that was found
 * good}: it counts for these alone} -> {}: how a backup, a drill or a verification went, for status, the schedule and reports. With {begins: the
 * process that makes it}: that it begins
 */
static int note_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct backup_note note = {.dataset = op_arg_string_or(args, "dataset", NULL),
	                           .failure = op_arg_string_or(args, "failure", NULL),
	                           .seconds = json_number_value(json_object_get(args, "seconds")),
	                           .verified = json_object_get(args, "verified"),
	                           .begins = (pid_t)op_arg_int(args, "begins", 0),
	                           .now = clock_now().tv_sec};
	const char *kind;
	int r = op_arg_string(args, "kind", &kind, err);

	(void)ret_result;
	if (r == 0)
		r = op_arg_string(args, "repository", &note.repository, err);
	if (r == 0 && backup_kind_parse(kind, &note.kind) < 0)
		r = error_set(err, -EINVAL, "\"%s\" is no kind of backup", kind);
	return r < 0 ? r : backup_schedule_note(context->store, &note, err);
}

/* backup.verified: {repository, dataset_id} -> {taken: of the newest backup of it there that a drill or a verification found good; 0: none is known} */
static int verified_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *repository, *of;
	double taken;
	int r = op_arg_string(args, "repository", &repository, err);

	if (r == 0)
		r = op_arg_string(args, "dataset_id", &of, err);
	if (r == 0)
		r = verified_get(context->store, repository, of, &taken, err);
	if (r == 0)
		*ret_result = json_pack("{s:f}", "taken", taken);
	return r;
}

struct status_rows {
	json_t *list;
	int64_t now;
};

static int status_of(void *arg, const struct dataset_info *dataset, const json_t *entry)
{
	const struct status_rows *rows = arg;
	const char *kind;
	json_t *row, *period;

	json_object_foreach(json_object_get(entry, "every"), kind, period) {
		enum backup_kind number;
		enum backup_state state;
		int64_t begun;
		bool is_late;

		if (backup_kind_parse(kind, &number) < 0)
			continue;
		is_late = backup_schedule_late(entry, number, rows->now);
		number = backup_schedule_made_for(entry, number);
		state = backup_schedule_state(entry, number, &begun);
		row = json_pack("{s:o, s:s, s:O, s:O, s:b}", "dataset", json_from_bytes(dataset->name), "kind", kind, "every", period, "repository",
		                json_object_get(entry, "repository"), "late", is_late);
		json_object_update(row, json_object_get(json_object_get(entry, "done"), backup_kind_text(number)));
		json_object_del(row, "begun");
		if (state != BACKUP_IDLE)
			json_object_set_new(row, state == BACKUP_RUNNING ? "running" : "interrupted", json_integer((json_int_t)begun));
		json_array_append_new(rows->list, row);
	}
	return 0;
}

json_t *op_backup_status(struct store *store)
{
	struct status_rows rows = {json_array(), clock_now().tv_sec};

	if (backup_schedule_each(store, status_of, &rows) < 0)
		json_array_append_new(rows.list, json_pack("{s:s, s:b}", "failure", "the schedules of backups cannot be read", "late", true));
	return rows.list;
}

/* --- drills by hand --- */

static int add_planned(void *arg, const struct dataset_info *dataset, const json_t *entry)
{
	const char *repository = json_string_value(json_object_get(entry, "repository"));

	(void)dataset;
	if (repository && json_object_get(json_object_get(entry, "every"), "drill"))
		json_object_set_new(arg, repository, json_true());
	return 0;
}

json_t *op_backup_drills(struct store *store)
{
	json_t *list = json_array(), *planned = json_object(), *drills = NULL, *drill;
	struct error err = {0};
	const char *repository;

	if (backup_schedule_each(store, add_planned, planned) < 0 || verified_drills(store, &drills, &err) < 0)
		json_array_append_new(list, json_pack("{s:s}", "failure", err.code < 0 ? err.text : "the schedules of backups cannot be read"));
	json_object_foreach(drills, repository, drill)
		if (!json_object_get(planned, repository)) {
			json_object_set_new(drill, "repository", json_string(repository));
			json_array_append(list, drill);
		}
	json_decref(planned);
	json_decref(drills);
	return list;
}

/* backup.drill.forget: {repository} -> {}: how drills there went is told no more. -ENOENT: nothing was told */
static int forget_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *repository;
	int r = op_arg_string(args, "repository", &repository, err);

	(void)ret_result;
	return r < 0 ? r : verified_forget_drills(context->store, repository, err);
}

/* backup.status: {} -> {backups, drills: as store.status has them} */
static int status_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	(void)args;
	(void)err;
	*ret_result = json_pack("{s:o, s:o}", "backups", op_backup_status(context->store), "drills", op_backup_drills(context->store));
	return 0;
}

const struct op backup_schedule_ops[] = {
	{"backup.schedule.get", "which backups are made by the clock", OP_READER, NULL, get_op},
	{"backup.schedule.set", "make backups by the clock", OP_OWNER, NULL, set_op},
	{"backup.status", "how the backups and drills by the clock went, and which are late", OP_READER, NULL, status_op},
	{"backup.drill.forget", "tell no more how drills of a repository went", OP_OWNER, NULL, forget_op},
	{"backup.due", "the backups and drills that are due", OP_READER, "due", due_op},
	{"backup.verified", "which backup was found good in a repository", OP_READER, NULL, verified_op},
	{"backup.note", "keep how a backup or a drill went", OP_OWNER, NULL, note_op},
	{NULL},
};
