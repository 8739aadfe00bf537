#include "fs/daemon/serve/requests.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/daemon/background/memory.h"
#include "fs/daemon/serve/heritage.h"
#include "fs/daemon/serve/restart.h"
#include "lib/backup/leases.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/store/datasets.h"

static bool is_own_mount(void *arg, dev_t device)
{
	return mounts_has_device(arg, device);
}

static int run_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	struct op_context context = {.store = requests->store,
	                             .role = call->role,
	                             .uid = call->uid,
	                             .gid = call->gid,
	                             .groups = call->groups,
	                             .group_count = call->group_count,
	                             .progress = call->progress,
	                             .progress_arg = call->progress_arg,
	                             .row = call->row,
	                             .row_arg = call->row_arg,
	                             .net_bytes = call->net_bytes,
	                             .cancelled = call->cancelled,
	                             .fd = call->fd >= 0 ? &call->fd : NULL,
	                             .is_own_mount = is_own_mount,
	                             .is_own_mount_arg = requests->mounts,
	                             .leases = mounts_leases(requests->mounts)};
	int result = op_run(&context, call->op, call->args, ret_result, err);

	mounts_settle(requests->mounts);
	return result;
}

/* A mountpoint can only be named by its path, and the command may live in another mount namespace: there the path may be another directory. */
static int check_same_place(const struct control_call *call, struct error *err)
{
	const char *mountpoint = op_arg_string_or(call->args, "mountpoint", "");
	struct stat theirs, ours;

	if (call->fd < 0)
		return 0;
	if (fstat(call->fd, &theirs) < 0)
		return error_set(err, -errno, "mountpoint %s: %s", mountpoint, strerror(errno));
	if (stat(mountpoint, &ours) == 0 && ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		return 0;
	error_set(err, -EXDEV, "the daemon of this store lives in another mount namespace, where %s is not this directory", mountpoint);
	error_hint(err, "mount it there: nsenter -m -t %d corpusfs mount ...", (int)getpid());
	return -EXDEV;
}

static int mount_start_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	int result = check_same_place(call, err);

	if (result == 0)
		result = restart_check_supervised(requests, call->args, err);
	if (result == 0)
		result = mounts_start(requests->mounts, call->args, ret_result, err);
	if (result == 0 && op_arg_bool(call->args, "wait")) {
		control_waits(call);
		mounts_wait(requests->mounts, op_arg_string_or(call->args, "mountpoint", ""), call->cancelled);
	}
	return result;
}

static int mount_stop_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	const char *mountpoint;
	struct mounts_stopped stopped;
	int result = op_arg_string(call->args, "mountpoint", &mountpoint, err);

	if (result == 0)
		result = mounts_stop(requests->mounts, mountpoint, op_arg_bool(call->args, "lazy"), &stopped, err);
	if (result < 0)
		return result;
	call->answer_when_closed = stopped.last;
	*ret_result = json_pack("{s:o, s:b, s:b, s:b}", "mountpoint", json_from_bytes(mountpoint), "last", stopped.last, "in_use",
	                        stopped.in_use, "lives_on", stopped.lives_on);
	return 0;
}

static int mount_list_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	json_t *list = mounts_list(requests->mounts), *mount;
	int result = 0;
	size_t i;

	json_array_foreach (list, i, mount) {
		json_t *row = json_deep_from_bytes(mount);
		if (result == 0)
			result = call->row(call->row_arg, row);
		json_decref(row);
	}
	json_decref(list);
	return result;
}

static int sync_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	int result = mounts_flush(requests->mounts);

	if (result < 0)
		return error_set(err, result, "what the kernel holds could not be written: %s", error_text(result));
	result = run_op(requests, call, ret_result, err);
	if (result < 0)
		return result;
	/* All else is on disk, whatever of it was lost. */
	result = mounts_lost(requests->mounts, err);
	if (result < 0) {
		json_decref(*ret_result);
		*ret_result = NULL;
	}
	return result;
}

static int mount_has_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	const int64_t connection = op_arg_int(call->args, "connection", 0);

	*ret_result = json_pack("{s:b}", "has", mounts_may_have(requests->mounts, makedev(0, (unsigned)connection)));
	return 0;
}

/* What takes how much of the daemon's memory; the rest of it is code, threads, and what is at work. */
static void memory_status(struct requests *requests, json_t *status)
{
	struct memory_part parts[STORE_MEMORY_PARTS + 2], *listings = &parts[STORE_MEMORY_PARTS], *journal = listings + 1;
	json_t *list = json_array();

	store_memory(requests->store, parts);
	mounts_names(requests->mounts, listings);
	heritage_memory(requests->journal_fd, journal);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", parts[i].name, "bytes", (json_int_t)parts[i].bytes,
		                                      "budget", (json_int_t)parts[i].budget));
	json_object_set_new(status, "memory", list);
	json_object_set_new(status, "memory_bytes", json_integer((json_int_t)(memory_anonymous() + journal->bytes)));
}

/* With the names that the datasets have now. */
static json_t *leases_status(struct requests *requests)
{
	json_t *rows = leases_list(mounts_leases(requests->mounts)), *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		struct dataset_info info;

		if (dataset_get_by_id(requests->store, (uint32_t)json_integer_value(json_object_get(row, "dataset_id")), &info) == 0)
			json_object_set_new(row, "dataset", json_from_bytes(info.name));
		json_object_del(row, "dataset_id");
	}
	return rows;
}

static int status_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	int result = run_op(requests, call, ret_result, err);

	if (result < 0)
		return result;
	json_object_set_new(*ret_result, "pid", json_integer(getpid()));
	memory_status(requests, *ret_result);
	json_object_set_new(*ret_result, "version", json_string(CORPUSFS_VERSION));
	restart_status(requests, *ret_result);
	json_object_set_new(*ret_result, "leases", leases_status(requests));
	json_object_set_new(*ret_result, "gc", jobs_status(requests->jobs));
	return mount_list_op(requests, call, ret_result, err);
}

static int gc_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	int result;

	jobs_pause(requests->jobs);
	result = run_op(requests, call, ret_result, err);
	jobs_resume(requests->jobs);
	return result;
}

static int scrub_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	int result;

	jobs_pause_scrub(requests->jobs);
	result = run_op(requests, call, ret_result, err);
	jobs_resume_scrub(requests->jobs);
	return result;
}

/* Those that only a daemon has. */
static const struct own {
	const char *name;
	enum op_role role;
	int (*run)(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err);
} own[] = {
	{"mount.start", OP_OWNER, mount_start_op},
	{"mount.stop", OP_OWNER, mount_stop_op},
	{"mount.list", OP_READER, mount_list_op},
	{"mount.has", OP_READER, mount_has_op},
	{"daemon.restart", OP_OWNER, restart_op},
};

/* Those of lib/ops for which a daemon has more to do. They pass on what they are given, and the table there says who may. */
static const struct {
	const char *name;
	int (*run)(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err);
} extended[] = {
	{"store.sync", sync_op},
	{"store.status", status_op},
	{"gc.run", gc_op},
	{"scrub.run", scrub_op},
	{"scrub.schedule", scrub_op},
};

static int run_own(const struct own *op, struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	const json_t *text = call->args;
	json_t *bytes;
	int result = op_check_role(call->role, op->role, op->name, err);

	if (result < 0)
		return result;
	call->args = bytes = json_deep_to_bytes(text);
	result = op->run(requests, call, ret_result, err);
	call->args = text;
	json_decref(bytes);
	return result;
}

int requests_run(void *arg, struct control_call *call, json_t **ret_result, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(own[i].name, call->op) == 0)
			return run_own(&own[i], arg, call, ret_result, err);
	for (size_t i = 0; i < ARRAY_SIZE(extended); i++)
		if (strcmp(extended[i].name, call->op) == 0)
			return extended[i].run(arg, call, ret_result, err);
	return run_op(arg, call, ret_result, err);
}
