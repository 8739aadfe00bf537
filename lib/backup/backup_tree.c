#include "lib/backup/backup_tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lib/backup/backup_node.h"
#include "lib/backup/content_blobs.h"
#include "lib/backup/large_trees.h"
#include "lib/base/queue.h"
#include "lib/repository/go_mode.h"
#include "lib/repository/node_text.h"
#include "lib/transfer/view_walk.h"

#define QUEUE_FILES 256
/* What one thread takes at once: so many files, or as many as have so many bytes. */
#define JOBS_MAX 32
#define JOBS_BYTES (2U << 20)
#define WORKERS_MAX 16

struct dir {
	struct dir *parent;
	struct node *self; /* in the parent's list, or the top */
	char *path;        /* owned */
	ARRAY(struct node *) nodes;
	atomic_size_t pending;
	/* The base's tree, which nodes that are taken over point into, and its nodes from base_at on, which the walk has not met. */
	struct buf base_json;
	struct node_texts base;
	size_t base_at;
};

/* A file to be made blobs of. */
struct job {
	struct dir *dir;
	struct node *node;
	uint64_t ino;
	char *path;
	struct holes holes;
	int result;
};

struct run {
	struct backup_tree *tree;
	struct scan scan;
	struct queue *queue;
	atomic_uint working; /* threads that walk or make blobs; at 0 nobody needs the total any more */
};

/* Modes that no file has: of a node that is not to be in the tree, since it could not be read; of one that stands in the base's tree. */
#define LEFT_OUT 0U
#define AS_IS 1U

/* --- directories --- */

static void free_nodes(struct dir *dir)
{
	for (size_t i = 0; i < dir->nodes.count; i++) {
		node_clear(dir->nodes.items[i]);
		free(dir->nodes.items[i]);
	}
	array_clear(&dir->nodes);
}

static void write_failed(struct run *run, const struct blob_maker *maker)
{
	struct backup_tree *tree = run->tree;
	struct error err = {0};

	(void)error_set(&err, maker->err.code, "%s: %s", tree->place, maker->err.text);
	if (maker->err.hint[0])
		error_hint(&err, "%s", maker->err.hint);
	transfer_fail_with(tree->transfer, &err);
}

static void write_tree(struct run *run, struct blob_maker *maker, struct dir *dir)
{
	AUTO_BUF json = BUF_INIT;

	tree_begin(&json);
	for (size_t i = 0; i < dir->nodes.count; i++)
		if (dir->nodes.items[i]->mode != LEFT_OUT)
			tree_add(&json, dir->nodes.items[i]);
	tree_end(&json);
	if (transfer_stopped(run->tree->transfer))
		return;
	if (json.len > BLOB_BYTES_MAX)
		transfer_fail(run->tree->transfer, -EFBIG, "directory \"%s\" has too many names for a backup: its list is longer than 1 GiB",
		              dir->self->name ? dir->self->name : "/");
	else if (blob_maker_bytes(maker, true, json.data, json.len, &dir->self->subtree) < 0 ||
	         large_trees_add(run->tree->large, maker, dir->path, &dir->self->subtree, &json) < 0)
		write_failed(run, maker);
	else
		dir->self->has_subtree = true;
}

/* One thing in the directory is done. */
static void count_down(struct run *run, struct blob_maker *maker, struct dir *dir)
{
	while (dir && atomic_fetch_sub(&dir->pending, 1) == 1) {
		struct dir *parent = dir->parent;

		write_tree(run, maker, dir);
		free_nodes(dir);
		buf_clear(&dir->base_json);
		free(dir->path);
		free(dir);
		dir = parent;
	}
}

/* --- the makers --- */

static void add_exact(struct run *run, const char *path, const struct node *node, const struct holes *holes)
{
	exact_entry_add(run->tree->exact, path, node, holes);
}

static void leave_out(struct run *run, const char *path, int code)
{
	transfer_problem(run->tree->transfer, "", path, code, code == -EFBIG ? "it has more than 16 TiB in holes" : NULL);
	entry_list_add_path(run->tree->left_out, path);
}

static int begin_job(struct run *run, struct job *job)
{
	const struct backup_tree *tree = run->tree;
	int r = transfer_stopped(tree->transfer) ? -ECANCELED : backup_node_load_xattrs(tree->view, job->ino, job->node);

	return r == 0 && S_ISLNK(job->node->mode) ? backup_node_load_target(tree->view, job->ino, job->node) : r;
}

static void end_job(struct run *run, struct blob_maker *maker, struct job *job)
{
	struct transfer *transfer = run->tree->transfer;
	const int r = job->result;

	if (r < 0 && maker->err.code < 0) {
		write_failed(run, maker);
	} else if (r < 0 && r != -ECANCELED) {
		leave_out(run, job->path, r);
		job->node->mode = LEFT_OUT;
	} else if (r == 0) {
		add_exact(run, job->path, job->node, &job->holes);
		atomic_fetch_add(&transfer->files, 1);
	}
	array_clear(&job->holes);
	count_down(run, maker, job->dir);
	free(job->path);
	free(job);
}

static void make_files(struct run *run, struct blob_maker *maker, struct job **jobs, size_t count)
{
	struct blob_file files[JOBS_MAX];
	struct job *regular[JOBS_MAX];
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		struct job *job = jobs[i];

		job->result = begin_job(run, job);
		if (job->result < 0 || !S_ISREG(job->node->mode))
			continue;
		files[found] = (struct blob_file){.ino = job->ino, .node = job->node, .holes = &job->holes};
		regular[found++] = job;
	}
	blob_maker_files(maker, files, found);
	for (size_t i = 0; i < found; i++)
		regular[i]->result = files[i].result;
	for (size_t i = 0; i < count; i++)
		end_job(run, maker, jobs[i]);
}

/* Waits for one, and takes with it what is there, but not more than is worth it. 0: no more come. */
static size_t take_jobs(struct run *run, struct job **jobs)
{
	struct job *job = queue_pop(run->queue);
	uint64_t bytes = 0;
	size_t count = 0;

	for (; job; job = count < JOBS_MAX && bytes < JOBS_BYTES ? queue_try_pop(run->queue) : NULL) {
		jobs[count++] = job;
		bytes += job->node->size;
	}
	return count;
}

static void init_maker(struct run *run, struct blob_maker *maker)
{
	blob_maker_init(maker, run->tree->transfer, run->tree->store, &run->scan, run->tree->writer);
	maker->fills_holes = run->tree->fills_holes;
	if (run->tree->notes_contents)
		maker->notes = content_notes_new(run->tree->store, run->tree->view);
}

static void end_maker(struct run *run, struct blob_maker *maker)
{
	if (blob_maker_end(maker, transfer_stopped(run->tree->transfer)) < 0)
		write_failed(run, maker);
}

static void maker_main(void *arg)
{
	struct run *run = arg;
	struct blob_maker maker;
	struct job *jobs[JOBS_MAX];
	size_t count;

	init_maker(run, &maker);
	while ((count = take_jobs(run, jobs)) > 0)
		make_files(run, &maker, jobs, count);
	end_maker(run, &maker);
	atomic_fetch_sub(&run->working, 1);
}

/* --- the walk --- */

struct walk_state {
	struct run *run;
	struct blob_maker maker;
	struct repository_reader *reader; /* of the base */
	struct dir *dir;
};

/* Nothing of the base is taken over where its tree cannot be read. */
static void load_base(struct walk_state *walk, struct dir *dir, const struct blob_id *tree)
{
	if (repository_read_blob(walk->reader, tree, true, &dir->base_json) < 0 ||
	    node_texts_read((char *)dir->base_json.data, dir->base_json.len, &dir->base) < 0)
		array_clear(&dir->base);
}

/* The base's node of the same name, inode and type. NULL: none. Names come in their order in both. */
static const struct node_text *base_of(struct dir *dir, const struct view_walk_step *step)
{
	const struct node_text *found;
	int order = -1;

	while (dir->base_at < dir->base.count && (order = node_text_compare(&dir->base.items[dir->base_at], step->name)) < 0)
		dir->base_at++;
	if (order != 0 || dir->base_at == dir->base.count)
		return NULL;
	found = &dir->base.items[dir->base_at];
	return found->inode == step->ino && json_text_is(&found->type, go_type_of(DTTOIF(step->type))) ? found : NULL;
}

static struct dir *enter_dir(struct dir *parent, struct node *self, const char *path)
{
	struct dir *dir = xcalloc(1, sizeof(*dir));

	dir->parent = parent;
	dir->self = self;
	dir->path = xstrdup(path);
	atomic_init(&dir->pending, 1);
	if (parent)
		atomic_fetch_add(&parent->pending, 1);
	return dir;
}

static struct node *add_node(struct dir *dir, const char *name)
{
	struct node *node = xcalloc(1, sizeof(*node));

	node->name = xstrdup(name);
	array_add(&dir->nodes, node);
	return node;
}

/* The node as it is, joined to the one before if they are neighbours in the base, too. */
static void add_as_is(struct dir *dir, const struct node_text *text)
{
	struct node *last = dir->nodes.count > 0 ? *array_last(&dir->nodes) : NULL;

	if (last && last->as_is && last->as_is + last->as_is_len + 1 == text->text && text->text[-1] == ',') {
		last->as_is_len += 1 + text->len;
		return;
	}
	last = xcalloc(1, sizeof(*last));
	last->mode = AS_IS;
	last->as_is = text->text;
	last->as_is_len = text->len;
	array_add(&dir->nodes, last);
}

/* Everything that the base has there, as it is. */
static void take_over(struct walk_state *walk, const struct node_text *from, const char *path)
{
	const struct backup_tree *tree = walk->run->tree;

	add_as_is(walk->dir, from);
	entry_paths_copy(&tree->base->exact, path, from->has_subtree, tree->exact);
	entry_paths_copy(&tree->base->large, path, from->has_subtree, tree->large);
}

/* 1: the step was taken over from the base. */
static int try_base(struct walk_state *walk, const struct view_walk_step *step, const struct node_text *base)
{
	int r;

	/* Names of files are counted, whether the base has them or not. */
	r = backup_base_is_touched(walk->run->tree->base, step->ino, step->kind == VIEW_WALK_ENTER);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!base || (step->kind == VIEW_WALK_ENTER && !base->has_subtree) || backup_base_lacks(walk->run->tree->base, step->path))
		return 0;
	take_over(walk, base, step->path);
	return 1;
}

static void meet_directory(struct walk_state *walk, struct view_walk *view_walk, struct view_walk_step *step)
{
	const struct node_text *base = base_of(walk->dir, step);
	struct node *node;
	int r = try_base(walk, step, base);

	if (r == 1) {
		view_walk_skip(view_walk);
		atomic_fetch_add(&walk->run->tree->transfer->skipped, 1);
		return;
	}
	node = add_node(walk->dir, step->name);
	if (r == 0)
		r = view_walk_attr(view_walk, step);
	if (r == 0)
		backup_node_fill(node, &step->attr);
	if (r == 0)
		r = backup_node_load_xattrs(walk->run->tree->view, step->ino, node);
	if (r < 0) {
		leave_out(walk->run, step->path, r);
		node->mode = LEFT_OUT;
		view_walk_skip(view_walk);
		return;
	}
	add_exact(walk->run, step->path, node, NULL);
	walk->dir = enter_dir(walk->dir, node, step->path);
	if (base && base->has_subtree)
		load_base(walk, walk->dir, &base->subtree);
	atomic_fetch_add(&walk->run->tree->transfer->directories, 1);
}

static void meet_file(struct walk_state *walk, struct view_walk *view_walk, struct view_walk_step *step)
{
	struct job *job;
	int r = try_base(walk, step, base_of(walk->dir, step));

	if (r == 1) {
		atomic_fetch_add(&walk->run->tree->transfer->skipped, 1);
		return;
	}
	if (r == 0)
		r = view_walk_attr(view_walk, step);
	if (r < 0) {
		leave_out(walk->run, step->path, r);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	job->dir = walk->dir;
	job->ino = step->ino;
	job->path = xstrdup(step->path);
	job->node = add_node(walk->dir, step->name);
	backup_node_fill(job->node, &step->attr);
	atomic_fetch_add(&walk->dir->pending, 1);
	queue_push(walk->run->queue, job);
}

static void leave_dir(struct walk_state *walk)
{
	struct dir *dir = walk->dir;

	walk->dir = dir->parent;
	array_clear(&dir->base);
	count_down(walk->run, &walk->maker, dir);
}

static void walk_view(struct walk_state *walk)
{
	struct transfer *transfer = walk->run->tree->transfer;
	struct view_walk *view_walk = view_walk_new(walk->run->tree->view, ROOT_INO, false);
	struct view_walk_step step;

	while (!transfer_stopped(transfer) && view_walk_next(view_walk, &step)) {
		switch (step.kind) {
		case VIEW_WALK_FILE: meet_file(walk, view_walk, &step); break;
		case VIEW_WALK_ENTER: meet_directory(walk, view_walk, &step); break;
		case VIEW_WALK_LEAVE: leave_dir(walk); break;
		case VIEW_WALK_FAILED: leave_out(walk->run, step.path, step.code);
		}
	}
	view_walk_free(view_walk);
	while (walk->dir)
		leave_dir(walk);
}

static int begin_top(struct walk_state *walk)
{
	struct backup_tree *tree = walk->run->tree;
	struct attr attr;
	int r = view_getattr(tree->view, ROOT_INO, &attr);

	if (r < 0)
		return r;
	backup_node_fill(tree->top, &attr);
	r = backup_node_load_xattrs(tree->view, ROOT_INO, tree->top);
	add_exact(walk->run, "", tree->top, NULL);
	return r;
}

/* The dataset's root in the base, which is the one directory of its tree that is not ours. */
static int find_top(void *arg, struct node *node)
{
	struct blob_id *tree = arg;

	if (!node->has_subtree || strcmp(node->name, BACKUP_INFO_DIR) == 0)
		return 0;
	*tree = node->subtree;
	return 1;
}

static void load_top_base(struct walk_state *walk)
{
	const struct backup_base *base = walk->run->tree->base;
	AUTO_BUF json = BUF_INIT;
	struct blob_id top;

	if (base->has_changes && repository_read_blob(walk->reader, &base->snapshot.tree, true, &json) == 0 &&
	    tree_read((char *)json.data, json.len, find_top, &top) == 1)
		load_base(walk, walk->dir, &top);
}

static void walk_main(void *arg)
{
	struct run *run = arg;
	struct walk_state walk = {.run = run, .reader = repository_reader_new(run->tree->repository)};
	int r;

	init_maker(run, &walk.maker);
	r = begin_top(&walk);
	if (r < 0) {
		transfer_fail(run->tree->transfer, r, "the root of the dataset cannot be read");
	} else {
		walk.dir = enter_dir(NULL, run->tree->top, "");
		load_top_base(&walk);
		walk_view(&walk);
	}
	queue_close(run->queue);
	end_maker(run, &walk.maker);
	atomic_fetch_sub(&run->working, 1);
	repository_reader_free(walk.reader);
}

/* Sums sizes up beside the work, for the progress: half a sum would promise an end that is none. */
static void count_main(void *arg)
{
	struct run *run = arg;
	struct view_walk *walk = view_walk_new(run->tree->view, ROOT_INO, true);
	struct view_walk_step step;
	bool more = true;
	uint64_t total = 0;

	while (!transfer_stopped(run->tree->transfer) && atomic_load(&run->working) > 0 && (more = view_walk_next(walk, &step)))
		if (step.kind == VIEW_WALK_FILE && S_ISREG(step.attr.mode))
			total += MIN(step.attr.size, step.attr.allocated);
	view_walk_free(walk);
	if (!more)
		atomic_store(&run->tree->transfer->total, total);
}

void backup_tree_run(struct backup_tree *tree)
{
	struct run run = {.tree = tree, .queue = queue_new(QUEUE_FILES)};
	transfer_fn functions[WORKERS_MAX + 2] = {walk_main};
	size_t count = 1;

	scan_of_view(&run.scan, tree->view);
	for (unsigned i = 0; i < MIN(transfer_workers(), WORKERS_MAX); i++)
		functions[count++] = maker_main;
	atomic_init(&run.working, (unsigned)count);
	/* Where it is known what changed, only that is read. */
	if (tree->transfer->options->count && !tree->base->has_changes)
		functions[count++] = count_main;
	transfer_run(tree->transfer, functions, count, &run);
	scan_clear(&run.scan);
	queue_free(run.queue);
}
