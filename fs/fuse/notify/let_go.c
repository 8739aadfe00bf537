#include "fs/fuse/notify/let_go.h"

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/session/node.h"
#include "lib/base/buf.h"
#include "lib/format/key.h"

struct job {
	struct mount *mount;
	uint32_t old_view, view;
};

static int let_go_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	const struct job *job = arg;
	const struct node root = {.kind = NODE_FILE, .view = job->old_view, .ino = ROOT_INO};

	(void)session_notify_entry(mount_session(job->mount), node_encode(root, 0), name);
	return atomic_load(&job->mount->leaving);
}

/* The names are those of the new head: what it has not in common with the old one goes with the dataset's name, when somebody looks it up. */
static void run(void *arg)
{
	struct job *job = arg;
	struct store *store = job->mount->group->store;
	struct view *head;

	if (!store_view_by_number(store, job->view, &head)) {
		(void)!view_list(head, ROOT_INO, "", let_go_name, job);
		store_view_put(store, head);
	}
	free(job);
}

void let_go(struct mount *mount, uint32_t old_view, uint32_t view)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){.mount = mount, .old_view = old_view, .view = view};
	worker_add(mount->group->forgetter, mount, 0, run, job);
}
