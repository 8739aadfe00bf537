#include "fs/fuse/notify/let_go.h"

#include <dirent.h>

#include "fs/fuse/group/mount_group.h"
#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/format/key.h"

#define NAMES 1024 /* of which memory is had at once */

struct job {
	struct mount *mount;
	uint32_t old_view, view;
	ARRAY(uint64_t) dirs; /* those that the root has, by inode number */
	ARRAY(char *) names;  /* owned */
};

static int add_dir(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct job *job = arg;

	if (type == DT_DIR)
		array_add(&job->dirs, ino);
	return 0;
}

static int add_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct job *job = arg;

	array_add(&job->names, xstrdup(name));
	return job->names.count == NAMES;
}

/* The head is given back before the kernel is told anything: for that there may be somebody to wait for, and who destroys the dataset waits for us. */
static void list(struct job *job, uint64_t dir, const char *after, view_entry_fn each)
{
	struct store *store = job->mount->group->store;
	struct view *head;

	if (store_view_by_number(store, job->view, &head))
		return;
	(void)!view_list(head, dir, after, each, job);
	store_view_put(store, head);
}

static bool goes_on(const struct job *job)
{
	return !atomic_load(&job->mount->leaving) && fault_point("let-go-before-name") == 0;
}

static void let_go_names(struct job *job, uint64_t dir)
{
	const uint64_t parent = node_encode_in_view((struct node){.kind = NODE_FILE, .view = job->old_view, .ino = dir});
	AUTO_FREE char *last = xstrdup("");
	size_t count;

	do {
		list(job, dir, last, add_name);
		count = job->names.count;
		for (size_t i = 0; i < count; i++) {
			if (goes_on(job))
				(void)session_notify_entry(mount_session(job->mount), parent, job->names.items[i]);
			free(last);
			last = job->names.items[i];
		}
		array_reset(&job->names);
	} while (count == NAMES && !atomic_load(&job->mount->leaving));
}

/* The names are those of the new head: what it has not in common with the old one goes with the names at the root, when somebody looks them up. */
static void run(void *arg)
{
	struct job *job = arg;

	list(job, ROOT_INO, "", add_dir);
	for (size_t i = 0; i < job->dirs.count && !atomic_load(&job->mount->leaving); i++)
		let_go_names(job, job->dirs.items[i]);
	array_clear(&job->dirs);
	array_clear(&job->names);
	free(job);
}

void let_go(struct mount *mount, uint32_t old_view, uint32_t view)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){.mount = mount, .old_view = old_view, .view = view};
	worker_add(mount->group->forgetter, mount, 0, run, job);
}
