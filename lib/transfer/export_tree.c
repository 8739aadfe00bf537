#include "lib/transfer/export_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/queue.h"
#include "lib/transfer/target_dir.h"
#include "lib/transfer/target_links.h"
#include "lib/transfer/target_mark.h"
#include "lib/transfer/target_write.h"
#include "lib/transfer/view_walk.h"

#define LIST_NAMES 128
#define QUEUE_LISTS 64
#define WORKERS_MAX 16

/* Files of one directory, for one thread to write. */
struct list {
	struct target_dir *dir; /* held */
	struct {
		char *name;
		struct attr attr;
	} items[LIST_NAMES];
	size_t count;
};

struct tree_export {
	struct export *export;
	struct target_dirs dirs;
	struct target_links links;
	struct queue *queue;
	struct list *list; /* the walker's, not full yet */
	bool goes_on;
};

struct copy {
	struct tree_export *tree;
	uint8_t *piece;
};

/* --- files --- */

static void tell_result(struct tree_export *tree, const struct target_dir *dir, const char *name, int r)
{
	struct transfer *transfer = &tree->export->transfer;

	if (r == -ENOSPC || r == -EDQUOT)
		transfer_fail(transfer, r, "no room is left for %s", tree->export->options->target);
	else if (r == -EAGAIN)
		target_dir_problem(&tree->dirs, dir, name, r, "it changed while it was read");
	else if (r == -ESTALE)
		target_dir_problem(&tree->dirs, dir, name, r, "it was removed meanwhile");
	else if (r == -EEXIST && !dir->existed)
		target_dir_problem(&tree->dirs, dir, name, r, "the target takes its name for another one that is there already");
	else if (r < 0 && r != -ECANCELED)
		target_dir_problem(&tree->dirs, dir, name, r, NULL);
}

static int make_one(void *arg, struct target_dir *dir, const char *name, const struct attr *attr)
{
	struct copy *copy = arg;
	struct tree_export *tree = copy->tree;
	struct transfer *transfer = &tree->export->transfer;
	int r;

	if (target_is_there(&tree->dirs, dir, name, attr)) {
		atomic_fetch_add(&transfer->skipped, 1);
		atomic_fetch_add(&transfer->skipped_bytes, S_ISREG(attr->mode) ? MIN(attr->size, attr->allocated) : 0);
		return 0;
	}
	r = target_write(&tree->dirs, dir, name, attr->ino, copy->piece);
	tell_result(tree, dir, name, r);
	if (r == 0)
		atomic_fetch_add(&transfer->files, 1);
	return r;
}

static void copy_list(struct copy *copy, struct list *list)
{
	for (size_t i = 0; i < list->count && !transfer_stopped(&copy->tree->export->transfer); i++) {
		const char *name = list->items[i].name;
		const struct attr *attr = &list->items[i].attr;

		if (attr->nlink > 1)
			target_links_meet(&copy->tree->links, list->dir, name, attr, make_one, copy);
		else
			(void)make_one(copy, list->dir, name, attr);
	}
}

static void copy_main(void *arg)
{
	struct copy copy = {.tree = arg, .piece = malloc(EXPORT_PIECE)};
	struct list *list;

	/* who has failed still takes what others put into the queue */
	if (!copy.piece)
		transfer_fail(&copy.tree->export->transfer, -ENOMEM, "%s", error_text(-ENOMEM));
	while ((list = queue_pop(copy.tree->queue))) {
		if (copy.piece)
			copy_list(&copy, list);
		for (size_t i = 0; i < list->count; i++)
			free(list->items[i].name);
		target_dir_release(&copy.tree->dirs, list->dir);
		free(list);
	}
	free(copy.piece);
}

/* --- walking --- */

static void hand_out(struct tree_export *tree)
{
	if (tree->list)
		queue_push(tree->queue, steal_ptr(tree->list));
}

static void add_file(struct tree_export *tree, const struct view_walk_step *step)
{
	struct list *list = tree->list;

	if (!list) {
		list = tree->list = xmalloc(sizeof(*list));
		list->count = 0;
		list->dir = target_dir_hold(&tree->dirs, target_dirs_current(&tree->dirs));
	}
	list->items[list->count].name = xstrdup(step->name);
	list->items[list->count++].attr = step->attr;
	if (list->count == LIST_NAMES)
		hand_out(tree);
}

static void look_at_name(struct tree_export *tree, const struct target_dir *dir, bool is_top, const char *name)
{
	const struct impersonate *caller = &tree->export->transfer.caller;
	struct attr attr;

	if (view_lookup(tree->export->view, dir->ino, name, &attr) != -ENOENT)
		return;
	if (is_top && (target_mark_is_name(name) || target_links_is_name(&tree->links, name) || strcmp(name, "lost+found") == 0))
		return;
	if (!target_is_temporary(name)) {
		target_dir_problem(&tree->dirs, dir, name, -EEXIST, "it is in the target only, and stays there");
		return;
	}
	impersonate_begin(caller);
	(void)!unlinkat(dir->held.fd, name, 0);
	impersonate_end(caller);
}

/* What was there before, and is not in the view: rubbish of an export that was killed goes, other things are told of. */
static void look_at_existing(struct tree_export *tree, bool is_top)
{
	const struct target_dir *dir = target_dirs_current(&tree->dirs);
	const char *name;
	DIR *stream;
	int r;

	impersonate_begin(&tree->export->transfer.caller);
	stream = file_entries(dir->held.fd);
	r = stream ? 1 : -errno;
	impersonate_end(&tree->export->transfer.caller);
	while (r > 0 && !transfer_stopped(&tree->export->transfer) && (r = file_next_entry(stream, &name)) > 0)
		look_at_name(tree, dir, is_top, name);
	if (stream)
		closedir(stream);
	if (r < 0) {
		AUTO_FREE char *text = xasprintf("what it holds already cannot be listed: %s", error_text(r));
		target_dir_problem(&tree->dirs, dir, "", r, text);
	}
}

static void enter(struct tree_export *tree, struct view_walk *walk, const struct view_walk_step *step)
{
	int r;

	/* What was found so far belongs to the directory above, which may be closed for the time being. */
	hand_out(tree);
	r = target_dirs_enter(&tree->dirs, step->name, step->attr.ino);
	if (r < 0) {
		view_walk_skip(walk);
		tell_result(tree, target_dirs_current(&tree->dirs), step->name, r);
		return;
	}
	atomic_fetch_add(&tree->export->transfer.directories, 1);
	if (target_dirs_current(&tree->dirs)->existed)
		look_at_existing(tree, false);
}

static void walk_main(void *arg)
{
	struct tree_export *tree = arg;
	struct view_walk *walk = view_walk_new(tree->export->view, tree->export->top.ino, true);
	struct view_walk_step step;

	if (tree->goes_on)
		look_at_existing(tree, true);
	while (!transfer_stopped(&tree->export->transfer) && view_walk_next(walk, &step)) {
		switch (step.kind) {
		case VIEW_WALK_FILE: add_file(tree, &step); break;
		case VIEW_WALK_ENTER: enter(tree, walk, &step); break;
		case VIEW_WALK_LEAVE:
			hand_out(tree);
			target_dirs_leave(&tree->dirs);
			break;
		case VIEW_WALK_FAILED:
			transfer_problem(&tree->export->transfer, "", step.path, step.code, step.code == -ESTALE ? "it was removed meanwhile" : NULL);
		}
	}
	hand_out(tree);
	view_walk_free(walk);
	queue_close(tree->queue);
}

/* --- the whole --- */

static void finish(struct tree_export *tree, int fd)
{
	struct transfer *transfer = &tree->export->transfer;
	int synced;

	target_links_clear(&tree->links);
	/* The top gets its attributes last, for all that was made in it changed its times. */
	target_dirs_leave_all(&tree->dirs);
	transfer_tell(transfer, "sync");
	synced = transfer->failure.code != -ECANCELED ? target_sync_all(&tree->dirs.sync) : 0;
	if (synced < 0)
		transfer_fail(transfer, synced, "%s could not be brought to the disk: %s", tree->export->options->target, strerror(-synced));
	target_dirs_clear(&tree->dirs);
	if (!transfer_stopped(transfer))
		target_mark_end(tree->export, fd);
}

int export_tree(struct export *export, struct error *err)
{
	struct tree_export tree = {.export = export};
	transfer_fn functions[WORKERS_MAX + 1] = {walk_main};
	const int fd = export->options->target_fd;
	size_t count = 1;
	int top_fd, r;

	if (!S_ISDIR(export->top.mode)) {
		error_set(err, -ENOTDIR, "%s/%s is not a directory, so it does not become one", export->options->source, export->options->path);
		error_hint(err, "copy it out of a mount with cp, or export it as an archive, as in %s.tar", export->options->target);
		return -ENOTDIR;
	}
	r = target_mark_begin(export, fd, &tree.goes_on, err);
	if (r < 0)
		return r;
	top_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (top_fd < 0)
		return error_set(err, -errno, "%s: %s", export->options->target, strerror(errno));
	tree.queue = queue_new(QUEUE_LISTS);
	target_dirs_init(&tree.dirs, export, top_fd, tree.goes_on);
	target_links_init(&tree.links, &tree.dirs, fd);
	for (unsigned i = 0; i < MIN(transfer_workers(), WORKERS_MAX); i++)
		functions[count++] = copy_main;
	transfer_run(&export->transfer, functions, count, &tree);
	finish(&tree, fd);
	queue_free(tree.queue);
	return 0;
}
