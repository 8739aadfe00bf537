/* Each request is answered exactly once: at once, or by a job (backups_jobs.h) if it may have to wait. */
#include "fs/fuse/backups/backups_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/fuse/backups/backups_xattrs.h"

#define FOR_EVER 1e9
#define OF_LISTS 1.0 /* of what changes when a backup comes */
#define NEVER 0.0

static struct backups *backups_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* Of a job that came to an end with an error, unless that says that it must wait. */
static int reply_result(fuse_req_t req, int result)
{
	if (result != -EAGAIN)
		fuse_reply_err(req, -result);
	return result == -EAGAIN ? result : 0;
}

/* Runs now what need not wait. */
static void run(struct backups_job *job)
{
	struct backups *backups = backups_of(job->req);

	if (job->run(job, false) == -EAGAIN)
		backups_jobs_add(job->brings ? backups->bringing : backups->jobs, job);
	else
		free(job->name);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* An ACL of a file is more than its mode says: the kernel must see it. */
	conn->want = (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_POSIX_ACL |
	              FUSE_CAP_AUTO_INVAL_DATA) & conn->capable;
	conn->max_readahead = SESSION_TRANSFER_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
}

/* --- names and attributes --- */

static double timeout_of(fuse_req_t req, fuse_ino_t id)
{
	return browse_may_change(backups_of(req)->options.browse, id) ? OF_LISTS : FOR_EVER;
}

static struct fuse_entry_param param_of(fuse_req_t req, fuse_ino_t parent, const struct browse_entry *entry)
{
	return (struct fuse_entry_param){.ino = entry->id, .generation = 1, .attr = entry->stat, .attr_timeout = timeout_of(req, entry->id),
	                                 .entry_timeout = entry->is_passing ? NEVER : timeout_of(req, parent)};
}

static int run_lookup(const struct backups_job *job, bool may_wait)
{
	struct browse *browse = backups_of(job->req)->options.browse;
	struct browse_entry entry;
	int r = browse_lookup(browse, job->id, job->name, may_wait, &entry);
	/* there is none, and perhaps there never will be */
	struct fuse_entry_param param = {.entry_timeout = entry.is_passing ? NEVER : timeout_of(job->req, job->id)};

	if (r < 0 && r != -ENOENT)
		return reply_result(job->req, r);
	if (r == 0)
		param = param_of(job->req, job->id, &entry);
	/* Who asked has gone: nobody will forget it. */
	if (fuse_reply_entry(job->req, &param) < 0 && r == 0)
		browse_forget(browse, entry.id, 1);
	return 0;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	run(&(struct backups_job){.run = run_lookup, .req = req, .id = parent, .name = xstrdup(name)});
}

static void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t lookups)
{
	browse_forget(backups_of(req)->options.browse, id, lookups);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		browse_forget(backups_of(req)->options.browse, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static int run_getattr(const struct backups_job *job, bool may_wait)
{
	struct browse_entry entry;
	int r = browse_getattr(backups_of(job->req)->options.browse, job->id, may_wait, &entry);

	if (r < 0)
		return reply_result(job->req, r);
	fuse_reply_attr(job->req, &entry.stat, entry.is_passing ? NEVER : timeout_of(job->req, job->id));
	return 0;
}

static void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)fi;
	run(&(struct backups_job){.run = run_getattr, .req = req, .id = id});
}

static int run_readlink(const struct backups_job *job, bool may_wait)
{
	AUTO_BUF target = BUF_INIT;
	int r = browse_readlink(backups_of(job->req)->options.browse, job->id, may_wait, &target);

	if (r < 0)
		return reply_result(job->req, r);
	fuse_reply_readlink(job->req, (const char *)target.data);
	return 0;
}

static void op_readlink(fuse_req_t req, fuse_ino_t id)
{
	run(&(struct backups_job){.run = run_readlink, .req = req, .id = id});
}

static void op_statfs(fuse_req_t req, fuse_ino_t id)
{
	const struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255, .f_flag = ST_RDONLY};

	(void)id;
	fuse_reply_statfs(req, &st);
}

/* --- directories --- */

struct filling {
	fuse_req_t req;
	fuse_ino_t dir;
	char *out;
	size_t size, used;
	bool plus;
};

static int add_entry(void *arg, const char *name, uint64_t next, const struct browse_entry *entry)
{
	struct filling *filling = arg;
	const struct fuse_entry_param param = param_of(filling->req, filling->dir, entry);
	char *out = filling->out + filling->used;
	const size_t left = filling->size - filling->used;
	const size_t need = filling->plus ? fuse_add_direntry_plus(filling->req, out, left, name, &param, (off_t)next)
	                                  : fuse_add_direntry(filling->req, out, left, name, &entry->stat, (off_t)next);

	if (need > left)
		return 1;
	filling->used += need;
	return 0;
}

static int list(const struct backups_job *job, bool may_wait, bool plus)
{
	struct backups *backups = backups_of(job->req);
	struct filling filling = {.req = job->req, .dir = job->id, .size = MIN(job->size, (size_t)SESSION_TRANSFER_MAX), .plus = plus};
	const struct browse_listing what = {.id = job->id, .from = (uint64_t)job->offset, .take = plus, .each = add_entry, .arg = &filling};
	int r;

	filling.out = session_buffer_get(backups->session);
	r = filling.out ? browse_list(backups->options.browse, &what, may_wait) : -ENOMEM;
	if (r < 0)
		r = reply_result(job->req, r);
	else
		fuse_reply_buf(job->req, filling.out, filling.used);
	session_buffer_put(backups->session, filling.out);
	return r;
}

static int run_readdir(const struct backups_job *job, bool may_wait)
{
	return list(job, may_wait, false);
}

static int run_readdirplus(const struct backups_job *job, bool may_wait)
{
	return list(job, may_wait, true);
}

static void op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	run(&(struct backups_job){.run = run_readdir, .req = req, .id = fi->fh ? fi->fh : id, .size = size, .offset = offset});
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	run(&(struct backups_job){.run = run_readdirplus, .req = req, .id = fi->fh ? fi->fh : id, .size = size, .offset = offset});
}

/* --- content --- */

/* From then on the kernel opens files, and caches them, without asking. */
static void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)id;
	(void)reply_result(req, (fi->flags & O_ACCMODE) == O_RDONLY ? -ENOSYS : -EROFS);
}

/* A root that becomes another: its list is not kept, and who has it open reads on in that of the version in which he opened it. */
static int run_open_root(const struct backups_job *job, bool may_wait)
{
	struct fuse_file_info fi = {0};
	int r = browse_root(backups_of(job->req)->options.browse, may_wait, &fi.fh);

	if (r < 0)
		return reply_result(job->req, r);
	fuse_reply_open(job->req, &fi);
	return 0;
}

/* As with files, but for who follows: then all are opened, as the root must be, and the lists of all others are kept. */
static void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	if (!backups_of(req)->options.follows) {
		(void)reply_result(req, -ENOSYS);
	} else if (id == FUSE_ROOT_ID) {
		run(&(struct backups_job){.run = run_open_root, .req = req, .id = id});
	} else {
		fi->keep_cache = fi->cache_readdir = 1;
		fuse_reply_open(req, fi);
	}
}

/* Nobody waits for it: who reads what could not be had is told then. */
static int run_ahead(const struct backups_job *job, bool may_wait)
{
	const struct browse_range range = {.id = job->id, .offset = (uint64_t)job->offset, .size = job->size};

	if (may_wait)
		(void)!browse_fetch(job->browse, &range);
	return 0;
}

static void fetch_ahead(struct backups *backups, const struct browse_range *read)
{
	struct browse_range ahead;

	if (browse_wants_ahead(backups->options.browse, read, &ahead))
		backups_jobs_try(backups->ahead, &(struct backups_job){.run = run_ahead, .browse = backups->options.browse, .id = ahead.id,
		                                                       .offset = (off_t)ahead.offset, .size = ahead.size});
}

static int run_read(const struct backups_job *job, bool may_wait)
{
	const struct browse_range range = {.id = job->id, .offset = (uint64_t)job->offset, .size = MIN(job->size, (size_t)SESSION_TRANSFER_MAX)};
	struct backups *backups = backups_of(job->req);
	void *out = session_buffer_get(backups->session);
	const ssize_t got = out ? browse_read(backups->options.browse, &range, may_wait, out) : -ENOMEM;
	int r = 0;

	if (got < 0)
		r = reply_result(job->req, (int)got);
	else
		fuse_reply_buf(job->req, out, (size_t)got);
	session_buffer_put(backups->session, out);
	if (got > 0)
		fetch_ahead(backups, &range);
	return r;
}

static void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	run(&(struct backups_job){.run = run_read, .req = req, .id = id, .size = size, .offset = offset});
}

/* --- extended attributes --- */

/* A length of 0 asks how long it is. */
static void reply_value(const struct backups_job *job, const struct buf *value)
{
	if (job->size == 0)
		fuse_reply_xattr(job->req, value->len);
	else if (value->len > job->size)
		fuse_reply_err(job->req, ERANGE);
	else
		fuse_reply_buf(job->req, (const char *)value->data, value->len);
}

static int run_getxattr(const struct backups_job *job, bool may_wait)
{
	struct browse *browse = backups_of(job->req)->options.browse;
	AUTO_BUF value = BUF_INIT;
	const uid_t uid = fuse_req_ctx(job->req)->uid;
	int r = backups_xattr(browse, job->id, job->name, uid == 0 || uid == geteuid(), may_wait, &value);

	if (r == -ENODATA)
		r = browse_xattr(browse, job->id, job->name, may_wait, &value);
	if (r < 0)
		return reply_result(job->req, r);
	reply_value(job, &value);
	return 0;
}

static void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	run(&(struct backups_job){.run = run_getxattr, .req = req, .id = id, .size = size, .name = xstrdup(name), .brings = backups_xattr_brings(name)});
}

static int run_listxattr(const struct backups_job *job, bool may_wait)
{
	AUTO_BUF names = BUF_INIT;
	int r = browse_xattr_names(backups_of(job->req)->options.browse, job->id, may_wait, &names);

	if (r < 0)
		return reply_result(job->req, r);
	reply_value(job, &names);
	return 0;
}

static void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	run(&(struct backups_job){.run = run_listxattr, .req = req, .id = id, .size = size});
}

const struct fuse_lowlevel_ops backups_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.open = op_open,
	.read = op_read,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
};
