#include "fs/fuse/ops/root.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/store/datasets.h"

#define DEFAULT_LEVEL 1

struct root_job {
	fuse_req_t req;
	struct mount *mount;
	char *name, *new_name;
	mode_t mode;
	unsigned flags;
	uint64_t until_ms; /* so long readers are waited for */
	struct session_request request;
};

void root_stat(const struct mount *mount, struct stat *ret_stat)
{
	const struct timespec changed = {.tv_sec = atomic_load(&mount->group->changed_s)};

	*ret_stat = (struct stat){
		.st_ino = NODE_MOUNT_ROOT,
		.st_mode = S_IFDIR | 0755,
		.st_nlink = NLINK_UNKNOWN,
		.st_uid = mount->group->owner_uid,
		.st_gid = mount->group->owner_gid,
		.st_blksize = 4096,
		.st_atim = changed,
		.st_mtim = changed,
		.st_ctim = changed,
	};
}

static int entry_of(struct mount *mount, const char *name, struct fuse_entry_param *ret_entry)
{
	AUTO_TARGET target = {.mount = mount, .node = {.kind = NODE_FILE, .ino = ROOT_INO}};
	struct attr attr;
	int result = store_head(mount->group->store, name, &target.view);

	if (result)
		return result;
	target.node.view = view_number(target.view);
	/* it may be new, and nobody has told of it yet */
	head_views_note(mount->group->heads, view_dataset(target.view), target.node.view);
	result = view_getattr(target.view, ROOT_INO, &attr);
	if (result)
		return result;
	target_entry(&target, &attr, ret_entry);
	ret_entry->entry_timeout = TIMEOUT_LIST;
	return 0;
}

int root_lookup(const struct target *root, const char *name, struct fuse_entry_param *ret_entry)
{
	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		*ret_entry = (struct fuse_entry_param){
			.ino = NODE_MOUNT_ROOT, .attr_timeout = TIMEOUT_LIST, .entry_timeout = TIMEOUT_LIST};
		root_stat(root->mount, &ret_entry->attr);
		return 0;
	}
	/* A stream is being received into it. */
	if (strchr(name, '@'))
		return -ENOENT;
	return entry_of(root->mount, name, ret_entry);
}

struct list_context {
	virtual_list_fn each;
	void *arg;
};

static int list_one(void *arg, const struct dataset_info *info)
{
	const struct list_context *context = arg;

	return context->each(context->arg, info->name, info->id, info->view);
}

int root_list(const struct target *root, virtual_list_fn each, void *arg)
{
	struct list_context context = {.each = each, .arg = arg};

	return dataset_list(root->mount->group->store, list_one, &context);
}

static void job_free(struct root_job *job)
{
	free(job->name);
	free(job->new_name);
	free(job);
}

static void job_add(struct root_job job, void (*run)(void *arg))
{
	struct root_job *copy = xmalloc(sizeof(*copy));
	struct mount *mount = request_mount(job.req);

	*copy = job;
	copy->mount = mount;
	copy->request = *session_request();
	worker_add(mount->group->worker, mount, copy->request.number, run, copy);
}

/* False: the daemon before this one has done it. session_mark_end() follows. */
static bool begin(const struct root_job *job)
{
	session_mark_begin(mount_session(job->mount), job->request.number);
	return !job->request.done;
}

static int errno_of(int result)
{
	return result == -EILSEQ ? -EINVAL : result;
}

static void mkdir_run(void *arg)
{
	struct root_job *job = arg;
	const struct fuse_ctx *caller = fuse_req_ctx(job->req);
	struct fuse_entry_param entry;
	int result = 0;

	if (begin(job))
		result = dataset_create(job->mount->group->store, job->name, job->mode & 07777, caller->uid, caller->gid, DEFAULT_LEVEL,
		                        NULL);
	session_mark_end();
	if (!result)
		result = entry_of(job->mount, job->name, &entry);
	if (result)
		reply_result(job->req, errno_of(result));
	else
		fuse_reply_entry(job->req, &entry);
	job_free(job);
}

void root_mkdir(fuse_req_t req, const char *name, mode_t mode)
{
	if (request_mount(req)->read_only) {
		reply_result(req, -EROFS);
		return;
	}
	mode &= ~fuse_req_ctx(req)->umask;
	job_add((struct root_job){.req = req, .name = xstrdup(name), .mode = mode}, mkdir_run);
}

static void rmdir_run(void *arg)
{
	struct root_job *job = arg;
	const int result = begin(job) ? dataset_destroy_now(job->mount->group->store, job->name, DATASET_DESTROY_EMPTY_ONLY, NULL) : 0;

	session_mark_end();
	if (result == -EAGAIN && worker_put_off(job->mount->group->worker, job->mount, job->request.number, rmdir_run, job, job->until_ms))
		return;
	reply_result(job->req, result == -EAGAIN ? -EBUSY : result);
	job_free(job);
}

void root_rmdir(fuse_req_t req, const char *name)
{
	if (request_mount(req)->read_only)
		reply_result(req, -EROFS);
	else
		job_add((struct root_job){.req = req, .name = xstrdup(name), .until_ms = clock_ms() + READERS_MS}, rmdir_run);
}

static void rename_run(void *arg)
{
	struct root_job *job = arg;
	const int result = begin(job) ? dataset_rename(job->mount->group->store, job->name, job->new_name, NULL) : 0;

	session_mark_end();
	reply_result(job->req, errno_of(result));
	job_free(job);
}

void root_rename(fuse_req_t req, const char *name, const char *new_name, unsigned flags)
{
	if (request_mount(req)->read_only)
		reply_result(req, -EROFS);
	else if (flags & ~(unsigned)RENAME_NOREPLACE)
		reply_result(req, -EINVAL);
	else
		job_add((struct root_job){.req = req, .name = xstrdup(name), .new_name = xstrdup(new_name)}, rename_run);
}
