#include "fs/fuse/ops/virtual_xattrs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/identity/identity.h"

#define IDENTITY "user.corpusfs.identity"
#define SHA256 "user.corpusfs.sha256"
#define VALUE_LEN (2 * IDENTITY_LEN)
/* Content that is hashed in the request's own thread. */
#define SHORT_BYTES (4U << 20)

struct xattr_job {
	fuse_req_t req;
	struct mount *mount;
	struct view *view;   /* referenced */
	uint64_t ino;        /* 0: the identity */
	size_t size;
};

bool virtual_xattr_is(const char *name)
{
	return strcmp(name, IDENTITY) == 0 || strcmp(name, SHA256) == 0;
}

static void reply(fuse_req_t req, int result, const uint8_t *digest, size_t size)
{
	char text[IDENTITY_TEXT_LEN];

	if (result == 0 && size < VALUE_LEN)
		result = -ERANGE;
	if (result < 0) {
		reply_result(req, result == -ECANCELED ? -EINTR : result);
		return;
	}
	identity_to_text(digest, text);
	fuse_reply_buf(req, text, VALUE_LEN);
}

static bool is_cancelled(void *arg)
{
	struct xattr_job *job = arg;

	return fuse_req_interrupted(job->req) || atomic_load(&job->mount->leaving);
}

/* What the kernel holds of files that are open for writing belongs to them. */
static int flush_kernel(const struct xattr_job *job)
{
	return view_read_only(job->view) ? 0 : freeze_write_back(job->mount->group->freeze, NULL);
}

static void run(void *arg)
{
	struct xattr_job *job = arg;
	struct store *store = job->mount->group->store;
	uint8_t digest[IDENTITY_LEN];
	int result = is_cancelled(job) ? -ECANCELED : flush_kernel(job);

	if (result == 0 && job->ino)
		result = identity_file(store, job->view, job->ino, is_cancelled, job, digest);
	else if (result == 0)
		result = identity_compute(store, job->view, is_cancelled, job, digest);
	store_view_put(store, job->view);
	reply(job->req, result, digest, job->size);
	free(job);
}

static void run_later(fuse_req_t req, const struct target *target, uint64_t ino, size_t size)
{
	struct mount *mount = target->mount;
	struct xattr_job *job;
	struct view *view;
	int result = store_view_by_number(mount->group->store, target->node.view, &view);

	if (result < 0) {
		reply_result(req, result);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	*job = (struct xattr_job){.req = req, .mount = mount, .view = view, .ino = ino, .size = size};
	worker_add(mount->group->digests, mount, session_request()->number, run, job);
}

static void get_sha256(fuse_req_t req, const struct target *target, const struct attr *attr, size_t size)
{
	uint8_t digest[IDENTITY_LEN];
	int result;

	if (attr->size > SHORT_BYTES || !view_read_only(target->view)) {
		run_later(req, target, attr->ino, size);
		return;
	}
	result = identity_file(target->mount->group->store, target->view, attr->ino, NULL, NULL, digest);
	reply(req, result, digest, size);
}

void virtual_xattr_get(fuse_req_t req, const struct target *target, const char *name, size_t size)
{
	const bool identity = strcmp(name, IDENTITY) == 0;
	uint8_t digest[IDENTITY_LEN];
	struct attr attr;
	int result = -ENODATA;

	if (target->node.kind == NODE_FILE)
		result = view_getattr(target->view, target->node.ino, &attr);
	if (result == 0 && !(identity ? attr.ino == ROOT_INO : S_ISREG(attr.mode)))
		result = -ENODATA;
	if (result < 0)
		reply_result(req, result);
	else if (size == 0)
		fuse_reply_xattr(req, VALUE_LEN);
	else if (!identity)
		get_sha256(req, target, &attr, size);
	else if (identity_known(target->mount->group->store, target->view, digest) == 0)
		reply(req, 0, digest, size);
	else
		run_later(req, target, 0, size);
}
