/*
 * A backup into a plain directory. One thread walks the backup: it makes directories and what has no content, and gives files to others, some
 * that follow one another at a time, who make them. Nothing is reached by a path (but the first name of a hard link, from the target on, through
 * no symbolic link): each directory is a descriptor, open as long as something is to be made in it:
 *
 *   a directory's `pending` counts the walk, while it is in there, each file that is not made, and each directory below that is not finished;
 *   who brings it to zero gives the directory its owner, mode, extended attributes and times, closes it, and counts the parent down.
 *
 * Until then it is its maker's alone (0700, without a default ACL that files would inherit). A file that has several names is made by the walk
 * itself, so that its first name is there when the next one comes.
 *
 * At the end all of it is brought to the disk, wherever the directories are mounted (lib/transfer/target_sync.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/backup/restore.h"
#include "lib/backup/restore_file.h"
#include "lib/backup/restore_source.h"
#include "lib/base/descriptors.h"
#include "lib/base/direct_file.h"
#include "lib/base/queue.h"
#include "lib/transfer/target_sync.h"
#include "lib/tree/files/acl.h"

/* What one thread takes at a time: files that stand side by side in packs, mostly. */
#define BATCH_FILES 32
#define BATCH_BYTES FETCH_BYTES
#define QUEUE_BATCHES 8

struct dir {
	struct dir *parent; /* NULL: the target */
	int fd;
	char *path; /* from the target on */
	bool by_file; /* what is made in it is synced one by one, and so is it */
	bool has_node;
	struct node node; /* its attributes, when it has_node */
	atomic_size_t pending;
};

/* A file to be made. All of it is owned. */
struct job {
	struct dir *dir;
	char *path;
	struct node node;
	struct holes holes;
};

struct batch {
	struct job *jobs[BATCH_FILES];
	size_t count, at; /* at: which is made now */
	uint64_t bytes;
};

struct directory_restore {
	struct restore restore;
	struct transfer transfer;
	struct archive_source members;
	struct queue *queue; /* of batches */
	atomic_uint makers; /* that have begun; the walk is number 0 */
	atomic_uint_fast64_t local, fetched;
	/* Of the walk: */
	struct restore_target target;
	struct target_sync sync;
	struct dir *dir;
	struct batch *batch; /* that is gathered, or NULL */
};

static void problem(struct directory_restore *restore, const char *path, int code, const char *text)
{
	transfer_problem(&restore->transfer, "", path, code, text);
}

/* What became of a file or a directory. */
static void report(struct directory_restore *restore, struct restore_target *target, const char *path, int r)
{
	const struct restore_options *options = restore->restore.options;

	if (r == 1 && options->keep_going)
		problem(restore, path, -EBADMSG, target->damage);
	else if (r == 1)
		transfer_fail(&restore->transfer, -EBADMSG, "%s: %s: %s", options->place, path, target->damage);
	else if (r == -ENOSPC || r == -EDQUOT)
		transfer_fail(&restore->transfer, r, "no room is left for %s", options->target);
	else if (r < 0 && r != -ECANCELED)
		problem(restore, path, r, NULL);
}

static void init_target(struct directory_restore *restore, struct restore_target *target)
{
	*target = (struct restore_target){.transfer = &restore->transfer, .top = restore->restore.options->target_fd, .is_root = geteuid() == 0,
	                                  .number = atomic_fetch_add(&restore->makers, 1)};
	restore_reader_init(&target->reader, restore->restore.options->repository, restore->restore.store, restore->restore.pool);
}

static void clear_target(struct directory_restore *restore, struct restore_target *target)
{
	atomic_fetch_add(&restore->local, target->reader.local);
	atomic_fetch_add(&restore->fetched, target->reader.fetched);
	restore_reader_clear(&target->reader);
	direct_file_free(target->direct);
}

/* --- directories --- */

/* What is there already may be somebody's: for root it is taken. Who does not let us: then making files in it says so. */
static void begin_filling(int fd)
{
	(void)!fchown(fd, geteuid(), (gid_t)-1);
	(void)fchmod(fd, 0700);
	(void)fremovexattr(fd, ACL_DEFAULT);
}

static void finish_dir(struct directory_restore *restore, struct restore_target *target, struct dir *dir)
{
	const struct timespec times[2] = {dir->node.atime, dir->node.mtime};

	int r = 0;

	if (dir->has_node) {
		r = restore_set_attributes(target, dir->fd, *dir->path ? dir->path : ".", &dir->node);
		if (r == 0 && futimens(dir->fd, times) < 0)
			r = -errno;
	}
	if (r == 0 && dir->by_file && !transfer_stopped(&restore->transfer) && fsync(dir->fd) < 0)
		r = -errno;
	report(restore, target, *dir->path ? dir->path : ".", r);
	close(dir->fd);
	node_clear(&dir->node);
	free(dir->path);
	free(dir);
}

/* One thing in the directory is done. */
static void count_down(struct directory_restore *restore, struct restore_target *target, struct dir *dir)
{
	while (dir && atomic_fetch_sub(&dir->pending, 1) == 1) {
		struct dir *parent = dir->parent;

		finish_dir(restore, target, dir);
		dir = parent;
	}
}

static void push_dir(struct directory_restore *restore, int fd, const char *path, struct node *node)
{
	struct dir *dir = xcalloc(1, sizeof(*dir));

	dir->parent = restore->dir;
	dir->fd = fd;
	dir->path = xstrdup(path);
	dir->by_file = target_sync_meet(&restore->sync, fd);
	atomic_init(&dir->pending, 1);
	if (node) {
		dir->has_node = true;
		dir->node = *node;
		*node = (struct node){0};
	}
	if (dir->parent)
		atomic_fetch_add(&dir->parent->pending, 1);
	restore->dir = dir;
}

static void leave_dir(struct directory_restore *restore)
{
	struct dir *dir = restore->dir;

	restore->dir = dir->parent;
	count_down(restore, &restore->target, dir);
}

/* Leaves directories until the path lies in the last one. Returns its name there. NULL: its directory could not be made. */
static const char *go_to(struct directory_restore *restore, const char *path)
{
	const char *slash = strrchr(path, '/');
	const size_t len = slash ? (size_t)(slash - path) : 0;
	struct dir *parent = restore->dir;

	while (parent && (strlen(parent->path) != len || memcmp(parent->path, path, len) != 0))
		parent = parent->parent;
	if (!parent)
		return NULL;
	while (restore->dir != parent)
		leave_dir(restore);
	return slash ? slash + 1 : path;
}

static int enter_dir(struct directory_restore *restore, const char *name, const char *path, struct node *node)
{
	const bool is_new = mkdirat(restore->dir->fd, name, 0700) == 0;
	int fd;

	if (!is_new && errno != EEXIST)
		return -errno;
	fd = openat(restore->dir->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!is_new) {
		begin_filling(fd);
		restore_remove_temporaries(fd);
	}
	push_dir(restore, fd, path, node);
	atomic_fetch_add(&restore->transfer.directories, 1);
	return 0;
}

/* The target is a directory of the backup, too. */
static void describe_top(struct directory_restore *restore, struct node *node)
{
	struct dir *top = restore->dir;

	begin_filling(top->fd);
	top->has_node = true;
	top->node = *node;
	*node = (struct node){0};
}

/* --- files --- */

static void free_job(struct job *job)
{
	node_clear(&job->node);
	array_clear(&job->holes);
	free(job->path);
	free(job);
}

static void do_job(struct directory_restore *restore, struct restore_target *target, struct job *job)
{
	const char *slash = strrchr(job->path, '/');
	const struct restore_file file = {.dir = job->dir->fd, .name = slash ? slash + 1 : job->path, .path = job->path,
	                                  .sync = job->dir->by_file, .node = &job->node, .holes = &job->holes};

	report(restore, target, job->path, transfer_stopped(&restore->transfer) ? -ECANCELED : restore_file_make(target, &file));
	count_down(restore, target, job->dir);
	free_job(job);
}

static const struct node *following(void *arg, size_t number)
{
	const struct batch *batch = arg;

	return number < batch->count - batch->at - 1 ? &batch->jobs[batch->at + 1 + number]->node : NULL;
}

/* Each job is freed when it is done; what follows it is there as long as anybody asks for it. */
static void do_batch(struct directory_restore *restore, struct restore_target *target, struct batch *batch)
{
	target->reader.following = following;
	target->reader.following_arg = batch;
	for (batch->at = 0; batch->at < batch->count; batch->at++)
		do_job(restore, target, batch->jobs[batch->at]);
	target->reader.following = NULL;
	free(batch);
}

static void push_batch(struct directory_restore *restore)
{
	if (restore->batch)
		queue_push(restore->queue, steal_ptr(restore->batch));
}

static void push_job(struct directory_restore *restore, struct job *job)
{
	struct batch *batch = restore->batch;

	if (!batch)
		batch = restore->batch = xcalloc(1, sizeof(*batch));
	batch->jobs[batch->count++] = job;
	/* A size may be made up. */
	batch->bytes += MIN(job->node.size, BATCH_BYTES);
	if (batch->count == BATCH_FILES || batch->bytes >= BATCH_BYTES)
		push_batch(restore);
}

static void maker_main(void *arg)
{
	struct directory_restore *restore = arg;
	struct restore_target target;
	struct batch *batch;

	init_target(restore, &target);
	while ((batch = queue_pop(restore->queue)))
		do_batch(restore, &target, batch);
	clear_target(restore, &target);
}

static void meet_link(struct directory_restore *restore, const char *name, const struct archive_member *member, const struct node *node)
{
	const struct restore_file file = {.dir = restore->dir->fd, .name = name, .path = member->path, .hardlink = member->hardlink, .node = node};

	report(restore, &restore->target, member->path, restore_file_make(&restore->target, &file));
}

static void meet_file(struct directory_restore *restore, const char *path, struct node *node, struct holes *holes)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->dir = restore->dir;
	job->path = xstrdup(path);
	job->node = *node;
	job->holes = *holes;
	*node = (struct node){0};
	*holes = (struct holes){0};
	atomic_fetch_add(&job->dir->pending, 1);
	if (S_ISREG(job->node.mode) && job->node.links < 2)
		push_job(restore, job);
	else
		do_job(restore, &restore->target, job);
}

/* --- the walk --- */

static void take_member(struct directory_restore *restore, const struct archive_found *found)
{
	const char *path = found->member.path, *name;
	struct node node = {0};
	struct holes holes = {0};

	if (found->problem) {
		problem(restore, path, -EBADMSG, found->problem);
		return;
	}
	restore_source_take(restore->restore.source, &node, &holes);
	if (strcmp(path, ".") == 0) {
		describe_top(restore, &node);
		return;
	}
	name = go_to(restore, path);
	if (!name)
		problem(restore, path, -ENOENT, "left out: its directory could not be made");
	else if (S_ISDIR(node.mode))
		report(restore, &restore->target, path, enter_dir(restore, name, path, &node));
	else if (found->member.hardlink)
		meet_link(restore, name, &found->member, &node);
	else
		meet_file(restore, path, &node, &holes);
	node_clear(&node);
	array_clear(&holes);
}

static void walk(struct directory_restore *restore, int top)
{
	struct archive_found found;
	int r = 0;

	push_dir(restore, top, "", NULL);
	restore_remove_temporaries(top);
	while (!transfer_stopped(&restore->transfer) && (r = restore->members.next(restore->members.arg, &found)) == 1)
		take_member(restore, &found);
	if (r < 0)
		transfer_fail(&restore->transfer, r, "%s: %s", restore->restore.options->place, restore->members.problem(restore->members.arg));
	while (restore->dir)
		leave_dir(restore);
}

static void walk_main(void *arg)
{
	struct directory_restore *restore = arg;
	const struct restore_options *options = restore->restore.options;
	int top = fcntl(options->target_fd, F_DUPFD_CLOEXEC, 3);

	init_target(restore, &restore->target);
	if (top < 0)
		transfer_fail(&restore->transfer, -errno, "%s: %s", options->target, strerror(errno));
	else
		walk(restore, top);
	push_batch(restore);
	queue_close(restore->queue);
	clear_target(restore, &restore->target);
}

static void bring_in(struct directory_restore *restore)
{
	const struct restore_options *options = restore->restore.options;
	transfer_fn functions[RESTORE_MAKERS_MAX] = {walk_main};
	size_t count = 1;
	int synced;

	(void)descriptors_raise();
	restore->members = restore_source_members(restore->restore.source);
	restore->queue = queue_new(QUEUE_BATCHES);
	for (unsigned i = 0; i < MIN(transfer_workers(), RESTORE_MAKERS_MAX - 1); i++)
		functions[count++] = maker_main;
	transfer_run(&restore->transfer, functions, count, restore);
	queue_free(restore->queue);
	transfer_tell(&restore->transfer, "sync");
	synced = transfer_stopped(&restore->transfer) ? 0 : target_sync_all(&restore->sync);
	if (synced < 0)
		transfer_fail(&restore->transfer, synced, "%s could not be brought to the disk: %s", options->target, strerror(-synced));
	target_sync_clear(&restore->sync);
}

int restore_to_directory(struct store *store, const struct restore_options *options, struct restore_result *ret_result, struct error *err)
{
	struct directory_restore restore = {.restore = {.options = options, .store = store, .result = ret_result, .only_walks = true}};
	int r, failed;

	*ret_result = (struct restore_result){0};
	transfer_begin(&restore.transfer, &options->transfer);
	r = restore_begin(&restore.restore, err);
	if (r == 0)
		bring_in(&restore);
	restore_end(&restore.restore);
	ret_result->local += atomic_load(&restore.local);
	ret_result->fetched += atomic_load(&restore.fetched);
	failed = transfer_end(&restore.transfer, &ret_result->transfer, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
