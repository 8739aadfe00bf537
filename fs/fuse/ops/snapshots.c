/*
 * What ".snapshots" is.
 *
 * In the root of a dataset the name stands for the dataset's snapshots and for nothing else: nobody can make, replace or remove it, and no
 * file can be made in it. Everywhere below it is a name like others.
 *
 * Trees that hold a directory of this name (snapper's, or those of another dataset) are copied to the roots of datasets, and copied trees are
 * kept equal to their source, without anybody thinking of snapshots. So
 *
 *   mkdir NAME   takes a snapshot when its caller asks for mode 0777, as mkdir(1) and the libraries of languages do: EPERM otherwise. Who
 *                copies a tree asks for the mode of the directory that is copied (cp, rsync, tar, mv; cp leaves out writing by others).
 *   rmdir NAME   destroys one, but EPERM for a thread that has just listed it and found it empty: so does who removes a tree. What holds
 *                something is never removed by such programs, since what it holds cannot be.
 *
 * `corpusfs import` leaves such a directory out and names it (lib/transfer/import.h).
 */
#include "fs/fuse/ops/snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/store/snapshots.h"

struct snapshot_job {
	fuse_req_t req;
	struct mount *mount;
	pid_t caller;
	struct session_request request;
	uint32_t dataset; /* its number: it may get another name before the job runs */
	uint64_t until_ms; /* so long readers are waited for */
	char *name, *new_name;
};

int snapshots_entry(const struct target *dir, struct fuse_entry_param *ret_entry)
{
	const uint32_t view = view_number(dir->view);
	struct attr attr;
	int result = view_getattr(dir->view, dir->node.ino, &attr);

	if (result)
		return result;
	if (!S_ISDIR(attr.mode))
		return -ENOTDIR;
	*ret_entry = (struct fuse_entry_param){
		.ino = node_encode((struct node){.kind = NODE_SNAPSHOTS, .view = view, .ino = dir->node.ino}, &dir->mount->gate.root),
		.attr_timeout = TIMEOUT_LIST,
		.entry_timeout = TIMEOUT_HEAD,
	};
	target_stat(dir, &attr, &ret_entry->attr);
	ret_entry->attr.st_ino = node_number(view, dir->node.ino, true);
	ret_entry->attr.st_nlink = NLINK_UNKNOWN;
	ret_entry->attr.st_size = 0;
	ret_entry->attr.st_blocks = 0;
	return 0;
}

/* The root of a snapshot. */
static int entry_of(struct mount *mount, struct view *view, struct fuse_entry_param *ret_entry)
{
	const struct target root = {.mount = mount, .node = {.kind = NODE_FILE, .view = view_number(view), .ino = ROOT_INO}, .view = view};
	struct attr attr;
	int result = view_getattr(view, ROOT_INO, &attr);

	if (result)
		return result == -ESTALE ? -ENOENT : result;
	target_entry(&root, &attr, ret_entry);
	ret_entry->entry_timeout = TIMEOUT_LIST;
	return 0;
}

int snapshots_lookup(const struct target *dir, const char *name, struct fuse_entry_param *ret_entry)
{
	struct store *store = dir->mount->group->store;
	struct view *view;
	int result;

	if (!strcmp(name, "."))
		return snapshots_entry(dir, ret_entry);
	if (!strcmp(name, "..")) {
		const struct target above = {.mount = dir->mount,
		                             .node = {.kind = NODE_FILE, .view = dir->node.view, .ino = dir->node.ino},
		                             .view = dir->view};
		struct attr attr;

		result = view_getattr(dir->view, dir->node.ino, &attr);
		if (!result)
			target_entry(&above, &attr, ret_entry);
		return result;
	}
	result = store_snapshot_by_id(store, view_dataset(dir->view), name, &view);
	if (result)
		return result;
	result = entry_of(dir->mount, view, ret_entry);
	store_view_put(store, view);
	return result;
}

struct list_context {
	virtual_list_fn each;
	void *arg;
};

static int list_one(void *arg, const struct snapshot_info *info)
{
	const struct list_context *context = arg;

	return context->each(context->arg, info->name, info->number, info->view);
}

int snapshots_list(const struct target *dir, virtual_list_fn each, void *arg)
{
	struct list_context context = {.each = each, .arg = arg};

	return snapshot_list_by_id(dir->mount->group->store, view_dataset(dir->view), list_one, &context);
}

static int stop_at_first(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	*(bool *)arg = false;
	return 1;
}

void snapshots_note_listing(fuse_req_t req, const struct target *target)
{
	struct mount *mount = target->mount;
	bool is_empty = true;

	if (target->node.kind != NODE_FILE || target->node.ino != ROOT_INO || !view_read_only(target->view) || mount->read_only)
		return;
	if (view_list(target->view, ROOT_INO, "", stop_at_first, &is_empty) == 0 && is_empty)
		recent_note(&mount->group->recent, fuse_req_ctx(req)->pid, target->node.view);
}

int snapshots_above(const struct target *snapshot_root, struct fuse_entry_param *ret_entry)
{
	struct store *store = snapshot_root->mount->group->store;
	AUTO_TARGET dir = {.mount = snapshot_root->mount, .node = {.kind = NODE_SNAPSHOTS, .ino = ROOT_INO}};
	int result = store_head_by_id(store, view_dataset(snapshot_root->view), &dir.view);

	if (result)
		return result;
	dir.node.view = view_number(dir.view);
	return snapshots_entry(&dir, ret_entry);
}

static void job_free(struct snapshot_job *job)
{
	free(job->name);
	free(job->new_name);
	free(job);
}

/* False: the daemon before this one has done it. session_mark_end() follows. */
static bool begin(const struct snapshot_job *job)
{
	session_mark_begin(mount_session(job->mount), job->request.number);
	return !job->request.done;
}

static void job_add(fuse_req_t req, const struct target *dir, const char *name, const char *new_name, void (*run)(void *arg))
{
	struct mount *mount = dir->mount;
	struct snapshot_job *job;

	if (mount->read_only) {
		reply_result(req, -EROFS);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	job->req = req;
	job->mount = mount;
	job->request = *session_request();
	job->caller = fuse_req_ctx(req)->pid;
	job->until_ms = clock_ms() + READERS_MS;
	job->dataset = view_dataset(dir->view);
	job->name = xstrdup(name);
	job->new_name = xstrdup_or_null(new_name);
	worker_add(mount->group->worker, mount, job->request.number, run, job);
}

/* Who asked gets a number. Where that does not say all, the log has the rest. */
static void log_failure(const struct snapshot_job *job, const struct error *err)
{
	if (err->code != -EEXIST && err->code != -EINVAL && err->code != -ENAMETOOLONG && err->code != -EROFS && err->code != -ENOENT)
		group_log(job->mount->group, "warning", "%s", err->text);
}

static void mkdir_run(void *arg)
{
	struct snapshot_job *job = arg;
	struct store *store = job->mount->group->store;
	const struct snapshot_name what = {.id = job->dataset, .name = job->name};
	struct fuse_entry_param entry;
	struct error err = {0};
	struct view *view;
	int result = begin(job) ? snapshot_create(store, &what, 1, "", 0, &err) : 0;

	session_mark_end();
	if (result)
		log_failure(job, &err);
	if (!result)
		result = store_snapshot_by_id(store, job->dataset, job->name, &view);
	if (!result) {
		result = entry_of(job->mount, view, &entry);
		store_view_put(store, view);
	}
	if (result)
		reply_result(job->req, result);
	else
		fuse_reply_entry(job->req, &entry);
	job_free(job);
}

void snapshots_mkdir(fuse_req_t req, const struct target *dir, const char *name, mode_t mode)
{
	if ((mode & 0777) == 0777)
		job_add(req, dir, name, NULL, mkdir_run);
	else
		reply_result(req, dir->mount->read_only ? -EROFS : -EPERM);
}

static void rmdir_run(void *arg)
{
	struct snapshot_job *job = arg;
	struct store *store = job->mount->group->store;
	const struct snapshot_name what = {.id = job->dataset, .name = job->name};
	struct view *view;
	const bool is_to_do = begin(job);
	int result = is_to_do ? store_snapshot_by_id(store, job->dataset, job->name, &view) : 0;

	if (is_to_do && !result) {
		result = recent_has(&job->mount->group->recent, job->caller, view_number(view)) ? -EPERM : 0;
		store_view_put(store, view);
	}
	if (is_to_do && !result)
		result = snapshot_destroy_now(store, &what, NULL);
	session_mark_end();
	if (result == -EAGAIN && worker_put_off(job->mount->group->worker, job->mount, job->request.number, rmdir_run, job, job->until_ms))
		return;
	reply_result(job->req, result == -EAGAIN ? -EBUSY : result);
	job_free(job);
}

void snapshots_rmdir(fuse_req_t req, const struct target *dir, const char *name)
{
	job_add(req, dir, name, NULL, rmdir_run);
}

static void rename_run(void *arg)
{
	struct snapshot_job *job = arg;
	const struct snapshot_name what = {.id = job->dataset, .name = job->name};
	const int result = begin(job) ? snapshot_rename(job->mount->group->store, &what, job->new_name, NULL) : 0;

	session_mark_end();
	reply_result(job->req, result);
	job_free(job);
}

void snapshots_rename(fuse_req_t req, const struct target *dir, const char *name, const char *new_name, unsigned flags)
{
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		reply_result(req, -EINVAL);
	else
		job_add(req, dir, name, new_name, rename_run);
}
