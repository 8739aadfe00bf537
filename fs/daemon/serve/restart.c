#include "fs/daemon/serve/restart.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/supervise/keeper.h"
#include "lib/ops/op_args.h"
#include "lib/store/uncommitted.h"

/* -EOPNOTSUPP: with one of the mounts no other could go on, or not as it is. */
static int check_mounts(const struct requests *requests, struct error *err)
{
	json_t *mounts = mounts_list(requests->mounts), *row;
	int result = 0;
	size_t i;

	json_array_foreach (mounts, i, row) {
		if (result < 0)
			break;
		if (json_object_get(row, "lease")) {
			result = error_set(err, -EOPNOTSUPP, "no other daemon would have the lease with which %s is mounted",
			                   json_string_value(json_object_get(row, "mountpoint")));
			error_hint(err, "unmount that one before");
			continue;
		}
		if (json_is_true(json_object_get(row, "supervised")))
			continue;
		result = error_set(err, -EOPNOTSUPP, "no other daemon could go on with the mount at %s, whose requests come by io_uring",
		                   json_string_value(json_object_get(row, "mountpoint")));
		error_hint(err, "unmount that one before; mounted with -o supervise it goes on");
	}
	json_decref(mounts);
	return result;
}

static const char *why_unsupervised(const struct requests *requests)
{
	return requests->unsupervised ? requests->unsupervised : "its supervisor has gone";
}

static int check_possible(const struct requests *requests, const struct control_call *call, struct error *err)
{
	const json_int_t heritage = json_integer_value(json_object_get(call->args, "heritage"));
	char other[CONTROL_OP_MAX];
	struct stat st;

	if (!requests->keeper || !keeper_lives(requests->keeper)) {
		error_set(err, -EOPNOTSUPP, "the daemon, process %d, has no supervisor (%s), so no other can go on with its mounts", (int)getpid(),
			  why_unsupervised(requests));
		error_hint(err, "unmount, and mount with this program");
		return -EOPNOTSUPP;
	}
	if (heritage != SUPERVISOR_HERITAGE) {
		error_set(err, -EXDEV, "this program (heritage %lld) cannot go on where the daemon, version %s (heritage %d), ends", (long long)heritage,
			  CORPUSFS_VERSION, SUPERVISOR_HERITAGE);
		error_hint(err, "unmount, and mount with the other program");
		return -EXDEV;
	}
	if (call->fd < 0 || fstat(call->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "the program that is to go on was not passed");
	if (check_mounts(requests, err) < 0)
		return -EOPNOTSUPP;
	if (control_others(call, other)) {
		error_set(err, -EBUSY, "%s is running, and would be broken off", other);
		error_hint(err, "try again when it has ended");
		return -EBUSY;
	}
	return 0;
}

int restart_check_supervised(const struct requests *requests, const json_t *args, struct error *err)
{
	if (!op_arg_bool(args, "supervise") || (requests->keeper && keeper_lives(requests->keeper)))
		return 0;
	error_set(err, -EOPNOTSUPP, "the daemon of this store, process %d, has no supervisor (%s)", (int)getpid(), why_unsupervised(requests));
	error_hint(err, "leave supervise out, or unmount the store everywhere before");
	return -EOPNOTSUPP;
}

int restart_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err)
{
	int result = check_possible(requests, call, err);

	if (result < 0)
		return result;
	result = mounts_flush(requests->mounts);
	if (result == 0)
		result = store_sync(requests->store);
	if (result < 0) {
		error_set(err, result, "what was written cannot be brought to the disk, so the daemon stays");
		(void)uncommitted_explain(requests->store, NULL, 0, err);
		return result;
	}
	result = mounts_lost(requests->mounts, err);
	if (result < 0)
		return result;
	result = keeper_pass_program(requests->keeper, call->fd);
	if (result < 0)
		return error_set(err, result, "the supervisor does not answer: %s", error_text(result));
	*ret_result = json_pack("{s:i}", "pid", (int)getpid());
	call->answer_when_closed = true;
	atomic_store(&requests->restart, true);
	(void)!write(requests->event_fd, &(uint64_t){1}, sizeof(uint64_t));
	return 0;
}

void restart_status(const struct requests *requests, json_t *status)
{
	struct supervisor_page *page = requests->keeper ? keeper_page(requests->keeper) : NULL;
	const bool lives = page && keeper_lives(requests->keeper);

	json_object_set_new(status, "supervised", json_boolean(lives));
	if (!lives)
		json_object_set_new(status, "unsupervised", json_string(why_unsupervised(requests)));
	json_object_set_new(status, "supervisor", lives ? json_integer(getppid()) : json_null());
	json_object_set_new(status, "crashes", json_integer(page ? page->crashes : 0));
	json_object_set_new(status, "restarts", json_integer(page ? page->restarts : 0));
	json_object_set_new(status, "fell_back", json_boolean(page && atomic_load(&page->fell_back)));
}

/*
 * The mounts are served until the end. What is being done then is as after a crash: it is asked again, and what was accepted since the last
 * commit stands in the journal.
 */
void restart_now(struct requests *requests, struct control *control, struct log *log)
{
	control_stop(control);
	jobs_stop(requests->jobs);
	(void)!store_sync(requests->store);
	log_line(log, "info", "restarting", "pid=%d", (int)getpid());
	atomic_store(&keeper_page(requests->keeper)->restart, 1);
	control_finish(control, 0);
	_exit(0);
}
