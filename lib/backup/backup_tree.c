#include "lib/backup/backup_tree.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "lib/base/queue.h"
#include "lib/base/utf8.h"
#include "lib/transfer/view_walk.h"

#define QUEUE_FILES 256
#define WORKERS_MAX 16

struct dir {
	struct dir *parent;
	struct node *self; /* in the parent's list, or the top */
	ARRAY(struct node *) nodes;
	atomic_size_t pending;
	/* The base's nodes, in order of names; of the walk. */
	bool has_base;
	ARRAY(struct node) base;
};

/* A file to be made blobs of. */
struct job {
	struct dir *dir;
	struct node *node;
	uint64_t ino;
	char *path;
};

struct run {
	struct backup_tree *tree;
	struct scan scan;
	struct queue *queue;
};

/* A node that is not to be in the tree: it could not be read. */
#define LEFT_OUT 0U

/* --- directories --- */

static void free_nodes(struct dir *dir)
{
	for (size_t i = 0; i < dir->nodes.count; i++) {
		node_clear(dir->nodes.items[i]);
		free(dir->nodes.items[i]);
	}
	array_clear(&dir->nodes);
}

static void forget_base(struct dir *dir)
{
	for (size_t i = 0; i < dir->base.count; i++)
		node_clear(&dir->base.items[i]);
	array_clear(&dir->base);
	dir->has_base = false;
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
	else if (blob_maker_bytes(maker, true, json.data, json.len, &dir->self->subtree) < 0)
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
		free(dir);
		dir = parent;
	}
}

/* --- nodes --- */

static void fill_node(struct node *node, const struct attr *attr)
{
	node->mode = attr->mode;
	node->uid = attr->uid;
	node->gid = attr->gid;
	node->inode = attr->ino;
	node->device_id = 1;
	node->links = S_ISDIR(attr->mode) ? 0 : attr->nlink;
	node->size = S_ISREG(attr->mode) ? attr->size : 0;
	node->rdev = S_ISBLK(attr->mode) || S_ISCHR(attr->mode) ? attr->rdev : 0;
	node->mtime = attr->mtime;
	node->atime = attr->atime;
	node->ctime = attr->ctime;
}

/* JSON holds UTF-8 only. */
static bool has_plain_name(struct transfer *transfer, const char *path, const char *name)
{
	if (utf8_is_valid(name))
		return true;
	transfer_problem(transfer, "", path, -EILSEQ, "backed up without an extended attribute whose name is not UTF-8");
	return false;
}

static int load_xattrs(const struct backup_tree *tree, const char *path, uint64_t ino, struct node *node)
{
	struct view *view = tree->view;
	AUTO_BUF list = BUF_INIT;
	int r = view_xattr_list(view, ino, &list);

	for (size_t at = 0; r == 0 && at < list.len; at += strlen((char *)list.data + at) + 1) {
		const char *name = (const char *)list.data + at;
		AUTO_BUF value = BUF_INIT;

		if (!has_plain_name(tree->transfer, path, name))
			continue;
		r = view_xattr_get(view, ino, name, &value);
		if (r < 0)
			break;
		buf_reserve(&value, 1);
		array_add(&node->xattrs, (struct node_xattr){.name = xstrdup(name), .value = value.data, .len = value.len});
		value = BUF_INIT;
	}
	return r;
}

static int load_target(struct view *view, uint64_t ino, struct node *node)
{
	AUTO_BUF target = BUF_INIT;
	int r = view_readlink(view, ino, &target);

	if (r == 0)
		node->target = (char *)steal_ptr(target.data);
	return r;
}

static void add_exact(struct run *run, const char *path, const struct node *node, const struct holes *holes)
{
	exact_list_add(run->tree->exact, path, node, holes);
}

/* --- the makers --- */

static int make_content(struct run *run, struct blob_maker *maker, struct job *job, struct holes *holes)
{
	struct scan_inode inode;
	int r = scan_inode(&run->scan, job->ino, &inode);

	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	r = blob_maker_file(maker, &inode, job->node, holes);
	scan_inode_clear(&inode);
	return r;
}

static void make_file(struct run *run, struct blob_maker *maker, struct job *job)
{
	struct transfer *transfer = run->tree->transfer;
	struct node *node = job->node;
	struct holes holes = {0};
	int r = transfer_stopped(transfer) ? -ECANCELED : load_xattrs(run->tree, job->path, job->ino, node);

	if (r == 0 && S_ISLNK(node->mode))
		r = load_target(run->tree->view, job->ino, node);
	if (r == 0 && S_ISREG(node->mode))
		r = make_content(run, maker, job, &holes);
	if (r < 0 && maker->err.code < 0) {
		write_failed(run, maker);
	} else if (r < 0 && r != -ECANCELED) {
		transfer_problem(transfer, "", job->path, r, r == -EFBIG ? "it has more than 16 TiB in holes" : NULL);
		node->mode = LEFT_OUT;
	} else if (r == 0) {
		add_exact(run, job->path, node, &holes);
		atomic_fetch_add(&transfer->files, 1);
	}
	array_clear(&holes);
	count_down(run, maker, job->dir);
	free(job->path);
	free(job);
}

static void init_maker(struct run *run, struct blob_maker *maker)
{
	blob_maker_init(maker, run->tree->transfer, run->tree->store, &run->scan, run->tree->writer);
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
	struct job *job;

	init_maker(run, &maker);
	while ((job = queue_pop(run->queue)))
		make_file(run, &maker, job);
	end_maker(run, &maker);
}

/* --- the walk --- */

struct walk_state {
	struct run *run;
	struct blob_maker maker;
	struct repository_reader *reader; /* of the base */
	struct dir *dir;
};

static int keep_node(void *arg, struct node *node)
{
	struct dir *dir = arg;

	array_add(&dir->base, *node);
	*node = (struct node){0};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct node *one = a, *other = b;

	return strcmp(one->name, other->name);
}

/* Nothing of the base is taken over where its tree cannot be read. */
static void load_base(struct walk_state *walk, struct dir *dir, const struct blob_id *tree)
{
	AUTO_BUF json = BUF_INIT;

	if (repository_read_blob(walk->reader, tree, true, &json) < 0)
		return;
	dir->has_base = tree_read((char *)json.data, json.len, keep_node, dir) == 0;
	if (!dir->has_base)
		forget_base(dir);
	else if (dir->base.count > 0)
		qsort(dir->base.items, dir->base.count, sizeof(*dir->base.items), by_name);
}

/* The base's node of the same name and inode. NULL: none. */
static struct node *base_of(const struct dir *dir, const struct view_walk_step *step)
{
	const struct node key = {.name = (char *)step->name};
	struct node *found;

	if (!dir->has_base || dir->base.count == 0)
		return NULL;
	found = bsearch(&key, dir->base.items, dir->base.count, sizeof(*dir->base.items), by_name);
	return found && found->inode == step->ino && (found->mode & S_IFMT) == (step->attr.mode & S_IFMT) ? found : NULL;
}

static struct dir *enter_dir(struct dir *parent, struct node *self)
{
	struct dir *dir = xcalloc(1, sizeof(*dir));

	dir->parent = parent;
	dir->self = self;
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

/* Everything that the base has there, as it is. */
static void take_over(struct walk_state *walk, struct node *from, const char *path)
{
	const struct exact_paths *exact = &walk->run->tree->base->exact;
	const json_t *own = exact_paths_find(exact, path);
	size_t first, count = S_ISDIR(from->mode) ? exact_paths_below(exact, path, &first) : 0;
	struct node *node = xcalloc(1, sizeof(*node));

	*node = *from;
	node->name = xstrdup(from->name); /* the base's list is still searched */
	from->xattrs = (__typeof__(from->xattrs)){0};
	from->content = (__typeof__(from->content)){0};
	from->target = NULL;
	array_add(&walk->dir->nodes, node);
	if (own)
		exact_list_copy(walk->run->tree->exact, own);
	for (size_t i = 0; i < count; i++)
		exact_list_copy(walk->run->tree->exact, exact->entries.items[first + i].entry);
}

static void problem(struct walk_state *walk, const char *path, int code)
{
	transfer_problem(walk->run->tree->transfer, "", path, code, NULL);
}

/* 1: the step was taken over from the base. */
static int try_base(struct walk_state *walk, const struct view_walk_step *step, struct node *base)
{
	int r;

	/* Names of files are counted, whether the base has them or not. */
	r = backup_base_is_touched(walk->run->tree->base, step->ino, step->kind == VIEW_WALK_ENTER);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!base || (step->kind == VIEW_WALK_ENTER && !base->has_subtree))
		return 0;
	take_over(walk, base, step->path);
	return 1;
}

static void meet_directory(struct walk_state *walk, struct view_walk *view_walk, const struct view_walk_step *step)
{
	struct node *base = base_of(walk->dir, step), *node;
	int r = try_base(walk, step, base);

	if (r == 1) {
		view_walk_skip(view_walk);
		atomic_fetch_add(&walk->run->tree->transfer->skipped, 1);
		return;
	}
	node = add_node(walk->dir, step->name);
	fill_node(node, &step->attr);
	if (r == 0)
		r = load_xattrs(walk->run->tree, step->path, step->ino, node);
	if (r < 0) {
		problem(walk, step->path, r);
		node->mode = LEFT_OUT;
		view_walk_skip(view_walk);
		return;
	}
	add_exact(walk->run, step->path, node, NULL);
	walk->dir = enter_dir(walk->dir, node);
	if (base)
		load_base(walk, walk->dir, &base->subtree);
	atomic_fetch_add(&walk->run->tree->transfer->directories, 1);
}

static void meet_file(struct walk_state *walk, const struct view_walk_step *step)
{
	struct job *job;
	int r = try_base(walk, step, base_of(walk->dir, step));

	if (r == 1) {
		atomic_fetch_add(&walk->run->tree->transfer->skipped, 1);
		return;
	}
	if (r < 0) {
		problem(walk, step->path, r);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	job->dir = walk->dir;
	job->ino = step->ino;
	job->path = xstrdup(step->path);
	job->node = add_node(walk->dir, step->name);
	fill_node(job->node, &step->attr);
	atomic_fetch_add(&walk->dir->pending, 1);
	queue_push(walk->run->queue, job);
}

static void leave_dir(struct walk_state *walk)
{
	struct dir *dir = walk->dir;

	walk->dir = dir->parent;
	forget_base(dir);
	count_down(walk->run, &walk->maker, dir);
}

static void walk_view(struct walk_state *walk)
{
	struct transfer *transfer = walk->run->tree->transfer;
	struct view_walk *view_walk = view_walk_new(walk->run->tree->view, ROOT_INO, true);
	struct view_walk_step step;

	while (!transfer_stopped(transfer) && view_walk_next(view_walk, &step)) {
		switch (step.kind) {
		case VIEW_WALK_FILE: meet_file(walk, &step); break;
		case VIEW_WALK_ENTER: meet_directory(walk, view_walk, &step); break;
		case VIEW_WALK_LEAVE: leave_dir(walk); break;
		case VIEW_WALK_FAILED: problem(walk, step.path, step.code);
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
	fill_node(tree->top, &attr);
	r = load_xattrs(tree, "", ROOT_INO, tree->top);
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
		walk.dir = enter_dir(NULL, run->tree->top);
		load_top_base(&walk);
		walk_view(&walk);
	}
	queue_close(run->queue);
	end_maker(run, &walk.maker);
	repository_reader_free(walk.reader);
}

void backup_tree_run(struct backup_tree *tree)
{
	struct run run = {.tree = tree, .queue = queue_new(QUEUE_FILES)};
	transfer_fn functions[WORKERS_MAX + 1] = {walk_main};
	size_t count = 1;

	scan_of_view(&run.scan, tree->view);
	for (unsigned i = 0; i < MIN(transfer_workers(), WORKERS_MAX); i++)
		functions[count++] = maker_main;
	transfer_run(tree->transfer, functions, count, &run);
	scan_clear(&run.scan);
	queue_free(run.queue);
}
