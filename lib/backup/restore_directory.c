/*
 * A backup into a plain directory. One thread walks the backup: it makes directories (restore_dirs.h) and what has no content, and gives files to
 * others, some that follow one another at a time, who make them. Nothing is reached by a path (but the first name of a hard link, from the target on,
 * through no symbolic link). A file that has several names is made by the walk itself, so that its first name is there when the next one comes.
 *
 * Where the identity of what was backed up is known, that of what comes is computed as it is written, and compared at the end (tree_parts.h).
 *
 * One restore at a time writes to a target: it holds the lock (flock) of its directory, as an export does.
 *
 * At the end all of it is brought to the disk, wherever the directories are mounted (lib/transfer/target_sync.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/backup/restore.h"
#include "lib/backup/restore_dirs.h"
#include "lib/backup/restore_source.h"
#include "lib/base/descriptors.h"
#include "lib/base/direct_file.h"
#include "lib/base/queue.h"
#include "lib/identity/tree_parts.h"
#include "lib/repository/seal.h"

/* What one thread takes at a time: files that stand side by side in packs, mostly. */
#define BATCH_FILES 32
#define BATCH_BYTES FETCH_BYTES
#define QUEUE_BATCHES 8

/* A file to be made. All of it is owned. */
struct job {
	struct restore_dir *dir;
	char *path;
	struct node node;
	struct holes holes;
	struct tree_part *part; /* of a regular file, where the identity is computed */
};

struct batch {
	struct job *jobs[BATCH_FILES];
	size_t count, at; /* at: which is made now */
	uint64_t bytes;
	struct tree_part *parts[BATCH_FILES];
	struct restore_seen seen[BATCH_FILES];
};

struct directory_restore {
	struct restore restore;
	struct transfer transfer;
	struct archive_source members;
	struct queue *queue; /* of batches */
	uint64_t token;
	atomic_uint makers; /* that have begun; the walk is number 0 */
	atomic_uint_fast64_t local, fetched;
	struct restore_dirs dirs;
	struct tree_parts *parts; /* NULL: the identity is not computed */
	struct restore_clamped clamped;
	atomic_bool cuts_modes; /* something was kept without its set-id bits, as a user's files are */
	/* Of the walk: */
	struct restore_target target;
	struct batch *batch; /* that is gathered, or NULL */
	bool lacks_parts; /* something came that is no part of the tree */
};

static void hash_before(void *arg)
{
	restore_target_hash(arg);
}

static void init_target(struct directory_restore *restore, struct restore_target *target)
{
	*target = (struct restore_target){.transfer = &restore->transfer, .top = restore->restore.options->target_fd, .is_root = geteuid() == 0,
	                                  .number = atomic_fetch_add(&restore->makers, 1), .clamped = &restore->clamped};
	restore_reader_init(&target->reader, restore->restore.options->repository, restore->restore.store, restore->restore.pool);
	if (!restore->parts)
		return;
	target->digest = digest_new();
	target->streams = digest_streams_new();
	target->reader.reuses = hash_before;
	target->reader.reuses_arg = target;
}

static void clear_target(struct directory_restore *restore, struct restore_target *target)
{
	atomic_fetch_add(&restore->local, target->reader.local);
	atomic_fetch_add(&restore->fetched, target->reader.fetched);
	if (target->cuts_modes)
		atomic_store(&restore->cuts_modes, true);
	restore_reader_clear(&target->reader);
	direct_file_free(target->direct);
	digest_free(target->digest);
	digest_streams_free(target->streams);
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
	const struct restore_file file = {.dir = job->dir->held.fd, .name = slash ? slash + 1 : job->path, .path = job->path,
	                                  .sync = job->dir->by_file, .node = &job->node, .holes = &job->holes};

	restore_dirs_report(&restore->dirs, target, job->path, transfer_stopped(&restore->transfer) ? -ECANCELED : restore_file_make(target, &file));
	restore_dir_let_go(&restore->dirs, target, job->dir);
	free_job(job);
}

static void end_part(struct directory_restore *restore, struct tree_part *part, const struct restore_seen *seen)
{
	if (part && seen->is_known)
		tree_parts_content(restore->parts, part, seen->digest);
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
	for (batch->at = 0; batch->at < batch->count; batch->at++) {
		batch->parts[batch->at] = batch->jobs[batch->at]->part;
		target->seen = &batch->seen[batch->at];
		do_job(restore, target, batch->jobs[batch->at]);
	}
	target->reader.following = NULL;
	restore_target_hash(target);
	for (size_t i = 0; i < batch->count; i++)
		end_part(restore, batch->parts[i], &batch->seen[i]);
	free(batch);
}

/* It stands alone. */
static void do_one(struct directory_restore *restore, struct restore_target *target, struct job *job)
{
	struct tree_part *part = job->part;
	struct restore_seen seen = {0};

	target->seen = &seen;
	do_job(restore, target, job);
	restore_target_hash(target);
	end_part(restore, part, &seen);
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
	const struct restore_file file = {.dir = restore_dirs_current(&restore->dirs)->held.fd, .name = name, .path = member->path,
	                                  .hardlink = member->hardlink, .node = node};
	struct restore_seen none;

	restore->target.seen = &none;
	restore_dirs_report(&restore->dirs, &restore->target, member->path, restore_file_make(&restore->target, &file));
}

static void meet_file(struct directory_restore *restore, const char *path, struct node *node, struct holes *holes, struct tree_part *part)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->dir = restore_dirs_current(&restore->dirs);
	job->path = xstrdup(path);
	job->node = *node;
	job->holes = *holes;
	job->part = part;
	*node = (struct node){0};
	*holes = (struct holes){0};
	restore_dir_hold(&restore->dirs, job->dir);
	if (S_ISREG(job->node.mode) && job->node.links < 2)
		push_job(restore, job);
	else
		do_one(restore, &restore->target, job);
}

/* --- the walk --- */

/* What cannot be part of the tree is lacking at the end, where that is said. */
static struct tree_part *add_part(struct directory_restore *restore, const struct archive_member *member, const struct node *node)
{
	const struct tree_member added = {.path = strcmp(member->path, ".") == 0 ? "" : member->path, .mode = member->mode, .size = member->size,
	                                  .rdev = member->rdev, .target = member->target ? member->target : "", .first = member->hardlink,
	                                  .has_others = !S_ISDIR(member->mode) && node->links > 1};
	struct tree_part *part = NULL;

	if (restore->parts && tree_parts_member(restore->parts, &added, &part) < 0)
		restore->lacks_parts = true;
	return part;
}

static void take_member(struct directory_restore *restore, const struct archive_found *found)
{
	const char *path = found->member.path, *name;
	struct tree_part *part;
	struct node node = {0};
	struct holes holes = {0};

	if (found->problem) {
		transfer_problem(&restore->transfer, "", path, -EBADMSG, found->problem);
		return;
	}
	if (found->warning)
		transfer_problem(&restore->transfer, "", path, -EINVAL, found->warning);
	part = add_part(restore, &found->member, restore_source_node(restore->restore.source));
	restore_source_take(restore->restore.source, &node, &holes);
	if (strcmp(path, ".") == 0) {
		restore_dirs_describe_top(&restore->dirs, &node);
		return;
	}
	name = restore_dirs_go_to(&restore->dirs, &restore->target, path);
	if (name && restore_dirs_current(&restore->dirs)->held.fd < 0)
		; /* it was moved, which ends the restore */
	else if (!name)
		transfer_problem(&restore->transfer, "", path, -ENOENT, "left out: its directory could not be made");
	else if (S_ISDIR(node.mode))
		restore_dirs_report(&restore->dirs, &restore->target, path, restore_dirs_enter(&restore->dirs, name, &node));
	else if (found->member.hardlink)
		meet_link(restore, name, &found->member, &node);
	else
		meet_file(restore, path, &node, &holes, part);
	node_clear(&node);
	array_clear(&holes);
}

static void walk(struct directory_restore *restore)
{
	struct archive_found found;
	int r = 0;

	while (!transfer_stopped(&restore->transfer) && (r = restore->members.next(restore->members.arg, &found)) == 1)
		take_member(restore, &found);
	if (r < 0)
		transfer_fail(&restore->transfer, r, "%s: %s", restore->restore.options->place, restore->members.problem(restore->members.arg));
	restore_dirs_leave_all(&restore->dirs, &restore->target);
}

static void walk_main(void *arg)
{
	struct directory_restore *restore = arg;
	const struct restore_options *options = restore->restore.options;
	int r = restore_dirs_begin(&restore->dirs);

	init_target(restore, &restore->target);
	if (r < 0)
		transfer_fail(&restore->transfer, r, "%s: %s", options->target, strerror(-r));
	else
		walk(restore);
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
	if (restore_source_identity(restore->restore.source))
		restore->parts = tree_parts_new();
	restore->members = restore_source_members(restore->restore.source);
	restore->queue = queue_new(QUEUE_BATCHES);
	restore_dirs_init(&restore->dirs, options, &restore->transfer);
	for (unsigned i = 0; i < MIN(transfer_workers(), RESTORE_MAKERS_MAX - 1); i++)
		functions[count++] = maker_main;
	transfer_run(&restore->transfer, functions, count, restore);
	queue_free(restore->queue);
	transfer_tell(&restore->transfer, "sync");
	synced = transfer_stopped(&restore->transfer) ? 0 : target_sync_all(&restore->dirs.sync);
	if (synced < 0)
		transfer_fail(&restore->transfer, synced, "%s could not be brought to the disk: %s", options->target, strerror(-synced));
	restore_dirs_clear(&restore->dirs);
}

static int compare(struct directory_restore *restore, struct error *err)
{
	struct restore_result *result = restore->restore.result;
	uint8_t identity[IDENTITY_LEN];

	if (transfer_stopped(&restore->transfer))
		return 0;
	result->uncompared = restore_uncompared(&restore->restore, atomic_load(&restore->transfer.problems));
	if (!result->uncompared && atomic_load(&restore->cuts_modes))
		result->uncompared = "whoever restores may not keep all modes";
	if (result->uncompared)
		return 0;
	if (restore->lacks_parts || tree_parts_final(restore->parts, identity) < 0)
		return error_set(err, -EBADMSG, "the identity of what was restored cannot be computed: the backup is no tree");
	return restore_compare(&restore->restore, identity, err);
}

/* Where a filesystem has no such locks, it goes on without. */
static int lock_target(const struct restore_options *options, struct error *err)
{
	if (flock(options->target_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	(void)error_set(err, -EBUSY, "another restore or export writes to %s", options->target);
	error_hint(err, "let it end, or restore to another directory");
	return -EBUSY;
}

static void end_clamped(struct restore_clamped *clamped, struct restore_result *result)
{
	result->clamped = clamped->count;
	result->clamped_first = (char *)steal_ptr(clamped->names.data); /* buf_addf ends it with a NUL */
	pthread_mutex_destroy(&clamped->lock);
}

int restore_to_directory(struct store *store, const struct restore_options *options, struct restore_result *ret_result, struct error *err)
{
	struct directory_restore restore = {.restore = {.options = options, .store = store, .result = ret_result, .only_walks = true}};
	int r = lock_target(options, err), failed;

	*ret_result = (struct restore_result){0};
	if (r < 0)
		return r;
	seal_random(&restore.token, sizeof(restore.token));
	restore.restore.total_bytes = &restore.transfer.total;
	pthread_mutex_init(&restore.clamped.lock, NULL);
	transfer_begin(&restore.transfer, &options->transfer);
	r = restore_begin(&restore.restore, err);
	if (r == 0) {
		bring_in(&restore);
		r = compare(&restore, err);
	}
	tree_parts_free(restore.parts);
	restore_end(&restore.restore);
	end_clamped(&restore.clamped, ret_result);
	ret_result->local += atomic_load(&restore.local);
	ret_result->fetched += atomic_load(&restore.fetched);
	failed = transfer_end(&restore.transfer, &ret_result->transfer, r < 0 ? NULL : err);
	(void)flock(options->target_fd, LOCK_UN);
	return r < 0 ? r : failed;
}
