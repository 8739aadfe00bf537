#include "fs/fuse/notify/let_go.h"

#include <dirent.h>

#include "fs/fuse/group/mount_group.h"
#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/format/key.h"

struct job {
	struct mount *mount;
	uint32_t old_view, view;
	ARRAY(uint64_t) dirs; /* those that the root has, by inode number */
	uint64_t dir;         /* the one whose names go */
};

static int add_dir(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct job *job = arg;

	if (type == DT_DIR)
		array_add(&job->dirs, ino);
	return 0;
}

static int let_go_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	const struct job *job = arg;
	const struct node dir = {.kind = NODE_FILE, .view = job->old_view, .ino = job->dir};

	(void)session_notify_entry(mount_session(job->mount), node_encode_in_view(dir), name);
	return atomic_load(&job->mount->leaving);
}

/* The names are those of the new head: what it has not in common with the old one goes with the names at the root, when somebody looks them up. */
static void run(void *arg)
{
	struct job *job = arg;
	struct store *store = job->mount->group->store;
	struct view *head;

	if (!store_view_by_number(store, job->view, &head)) {
		(void)!view_list(head, ROOT_INO, "", add_dir, job);
		for (size_t i = 0; i < job->dirs.count && !atomic_load(&job->mount->leaving); i++) {
			job->dir = job->dirs.items[i];
			(void)!view_list(head, job->dir, "", let_go_name, job);
		}
		store_view_put(store, head);
	}
	array_clear(&job->dirs);
	free(job);
}

void let_go(struct mount *mount, uint32_t old_view, uint32_t view)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){.mount = mount, .old_view = old_view, .view = view};
	worker_add(mount->group->forgetter, mount, 0, run, job);
}
