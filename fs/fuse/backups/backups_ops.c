/* Each request is answered exactly once: at once, or by a job (backups_jobs.h) if it may have to wait. */
#include "fs/fuse/backups/backups_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#define FOR_EVER 1e9

static struct backups *backups_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void reply_result(fuse_req_t req, int result)
{
	fuse_reply_err(req, -result);
}

/* Runs now what need not wait. */
static void run(struct backups_job *job, bool inside)
{
	struct backups *backups = backups_of(job->req);

	if (browse_waits(backups->options.browse, job->id, inside)) {
		backups_jobs_add(backups->jobs, job);
		return;
	}
	job->run(job);
	free(job->name);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* An ACL of a file is more than its mode says: the kernel must see it. */
	conn->want = (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_POSIX_ACL) & conn->capable;
	conn->max_readahead = SESSION_TRANSFER_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
}

/* --- names and attributes --- */

static struct fuse_entry_param param_of(const struct browse_entry *entry)
{
	return (struct fuse_entry_param){.ino = entry->id, .generation = 1, .attr = entry->stat, .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER};
}

static void run_lookup(const struct backups_job *job)
{
	struct browse *browse = backups_of(job->req)->options.browse;
	struct browse_entry entry;
	int r = browse_lookup(browse, job->id, job->name, &entry);
	struct fuse_entry_param param = {.entry_timeout = FOR_EVER}; /* there is none, and there will be none */

	if (r < 0 && r != -ENOENT) {
		reply_result(job->req, r);
		return;
	}
	if (r == 0)
		param = param_of(&entry);
	/* Who asked has gone: nobody will forget it. */
	if (fuse_reply_entry(job->req, &param) < 0 && r == 0)
		browse_forget(browse, entry.id, 1);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	run(&(struct backups_job){.run = run_lookup, .req = req, .id = parent, .name = xstrdup(name)}, true);
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

static void run_getattr(const struct backups_job *job)
{
	struct stat st;
	int r = browse_getattr(backups_of(job->req)->options.browse, job->id, &st);

	if (r < 0)
		reply_result(job->req, r);
	else
		fuse_reply_attr(job->req, &st, FOR_EVER);
}

static void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)fi;
	run(&(struct backups_job){.run = run_getattr, .req = req, .id = id}, false);
}

static void run_readlink(const struct backups_job *job)
{
	AUTO_BUF target = BUF_INIT;
	int r = browse_readlink(backups_of(job->req)->options.browse, job->id, &target);

	if (r < 0)
		reply_result(job->req, r);
	else
		fuse_reply_readlink(job->req, (const char *)target.data);
}

static void op_readlink(fuse_req_t req, fuse_ino_t id)
{
	run(&(struct backups_job){.run = run_readlink, .req = req, .id = id}, true);
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
	char *out;
	size_t size, used;
	bool plus;
};

static int add_entry(void *arg, const char *name, uint64_t next, const struct browse_entry *entry)
{
	struct filling *filling = arg;
	const struct fuse_entry_param param = param_of(entry);
	char *out = filling->out + filling->used;
	const size_t left = filling->size - filling->used;
	const size_t need = filling->plus ? fuse_add_direntry_plus(filling->req, out, left, name, &param, (off_t)next)
	                                  : fuse_add_direntry(filling->req, out, left, name, &entry->stat, (off_t)next);

	if (need > left)
		return 1;
	filling->used += need;
	return 0;
}

static void list(const struct backups_job *job, bool plus)
{
	struct backups *backups = backups_of(job->req);
	struct filling filling = {.req = job->req, .size = MIN(job->size, (size_t)SESSION_TRANSFER_MAX), .plus = plus};
	int r;

	filling.out = session_buffer_get(backups->session);
	r = filling.out ? browse_list(backups->options.browse, job->id, (uint64_t)job->offset, plus, add_entry, &filling) : -ENOMEM;
	if (r < 0)
		reply_result(job->req, r);
	else
		fuse_reply_buf(job->req, filling.out, filling.used);
	session_buffer_put(backups->session, filling.out);
}

static void run_readdir(const struct backups_job *job)
{
	list(job, false);
}

static void run_readdirplus(const struct backups_job *job)
{
	list(job, true);
}

static void op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	run(&(struct backups_job){.run = run_readdir, .req = req, .id = id, .size = size, .offset = offset}, true);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	run(&(struct backups_job){.run = run_readdirplus, .req = req, .id = id, .size = size, .offset = offset}, true);
}

/* --- content --- */

/* From then on the kernel opens files, and caches them, without asking. */
static void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)id;
	reply_result(req, (fi->flags & O_ACCMODE) == O_RDONLY ? -ENOSYS : -EROFS);
}

static void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	(void)id;
	(void)fi;
	reply_result(req, -ENOSYS);
}

static void run_read(const struct backups_job *job)
{
	struct backups *backups = backups_of(job->req);
	void *out = session_buffer_get(backups->session);
	const ssize_t got = out ? browse_read(backups->options.browse, job->id, out, MIN(job->size, (size_t)SESSION_TRANSFER_MAX), (uint64_t)job->offset) : -ENOMEM;

	if (got < 0)
		reply_result(job->req, (int)got);
	else
		fuse_reply_buf(job->req, out, (size_t)got);
	session_buffer_put(backups->session, out);
}

static void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	run(&(struct backups_job){.run = run_read, .req = req, .id = id, .size = size, .offset = offset}, true);
}

/* --- extended attributes --- */

struct answer {
	fuse_req_t req;
	size_t size; /* 0: only the length is asked for */
};

static void reply_value(void *arg, const void *value, size_t len)
{
	const struct answer *answer = arg;

	if (answer->size == 0)
		fuse_reply_xattr(answer->req, len);
	else if (len > answer->size)
		reply_result(answer->req, -ERANGE);
	else
		fuse_reply_buf(answer->req, value, len);
}

static void run_getxattr(const struct backups_job *job)
{
	struct answer answer = {job->req, job->size};
	int r = browse_xattr(backups_of(job->req)->options.browse, job->id, job->name, reply_value, &answer);

	if (r < 0)
		reply_result(job->req, r);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	run(&(struct backups_job){.run = run_getxattr, .req = req, .id = id, .size = size, .name = xstrdup(name)}, false);
}

static void run_listxattr(const struct backups_job *job)
{
	struct answer answer = {job->req, job->size};
	AUTO_BUF names = BUF_INIT;
	int r = browse_xattr_names(backups_of(job->req)->options.browse, job->id, &names);

	if (r < 0)
		reply_result(job->req, r);
	else
		reply_value(&answer, names.data, names.len);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	run(&(struct backups_job){.run = run_listxattr, .req = req, .id = id, .size = size}, false);
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
