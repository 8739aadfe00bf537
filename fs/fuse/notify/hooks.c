#include "fs/fuse/notify/hooks.h"

#include <string.h>

#include "fs/fuse/notify/changes.h"
#include "fs/fuse/notify/let_go.h"
#include "fs/fuse/session/node.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/store/datasets.h"

static int hook_freeze(void *arg, const uint32_t *views, size_t count)
{
	struct mount_group *group = arg;
	const int result = freeze_views(group->freeze, views, count);

	if (result)
		group_log(group, "warning", "no snapshot or rollback now: %s", error_text(result));
	return result;
}

static void hook_thaw(void *arg, const uint32_t *views, size_t count)
{
	struct mount_group *group = arg;

	freeze_thaw(group->freeze);
}

/*
 * The dataset's name stands for another node. With an epoch the kernel asks anew for every name that it remembers, and what it remembers of the
 * old node goes later. Without, it forgets the name, and all that is below it, before this returns.
 */
static void replace_name(struct mount *mount, const struct dataset_info *info, uint32_t old_view)
{
	struct session *session = mount_session(mount);

	if (session_notify_epoch(session) == 0)
		let_go(mount, old_view, info->view);
	else
		session_notify_entry(session, NODE_MOUNT_ROOT, info->name);
}

/* Of two rollbacks at once the later one counts, whoever tells of it last: numbers of views only grow. */
static void raise_root_view(struct mount *mount, uint32_t view)
{
	uint32_t was = atomic_load(&mount->gate.root_view);

	while (was < view && !atomic_compare_exchange_weak(&mount->gate.root_view, &was, view))
		;
}

/* The head has a new view: nothing that the kernel remembers of the old one may answer for it. */
static void hook_replaced(void *arg, uint32_t dataset, uint32_t old_view)
{
	struct mount_group *group = arg;
	struct dataset_info info;
	struct mount **mounts;
	size_t count;

	if (dataset_get_by_id(group->store, dataset, &info))
		return;
	atomic_fetch_add(&group->generation, 1);
	count = group_mounts(group, &mounts);
	for (size_t i = 0; i < count; i++) {
		struct mount *mount = mounts[i];

		if (mount->dataset == dataset && !mount->options.snapshot)
			raise_root_view(mount, info.view);
		if (!mount->dataset)
			replace_name(mount, &info, old_view);
		else if (mount->dataset == dataset && !mount->options.snapshot && session_has_epoch(mount_session(mount)))
			session_notify_epoch(mount_session(mount));
		if (!mount->dataset || (mount->dataset == dataset && !mount->options.snapshot))
			session_notify_inode(mount_session(mount), NODE_MOUNT_ROOT);
		mount_put(mount);
	}
	free(mounts);
}

/* A whole subtree was exchanged under the kernel's feet: told at once, and again later for answers that are under way. */
static void tree_changed(struct mount_group *group, uint32_t dataset, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	AUTO_FREE char *above = xasprintf("%.*s", (int)(slash ? slash - path : 0), path);
	struct dataset_info info;
	struct view *head;
	struct attr dir;
	int result;

	if (dataset_get_by_id(group->store, dataset, &info) || store_view_by_number(group->store, info.view, &head))
		return;
	result = view_resolve(head, above, &dir);
	store_view_put(group->store, head);
	if (!result)
		changes_tell_name(group, info.view, dir.ino, name);
}

static void hook_changed(void *arg, enum store_event event, uint32_t dataset, const char *name)
{
	struct mount_group *group = arg;
	struct dataset_info info;

	switch (event) {
	case STORE_DATASETS_CHANGED:
		atomic_store(&group->changed_s, clock_now().tv_sec);
		changes_note_list(group, 0, name);
		break;
	case STORE_SNAPSHOTS_CHANGED:
		if (!dataset_get_by_id(group->store, dataset, &info))
			changes_note_list(group, info.view, name);
		break;
	case STORE_TREE_CHANGED: tree_changed(group, dataset, name); break;
	}
}

static void hook_entry_changed(void *arg, uint32_t view, uint64_t dir, const char *name)
{
	struct mount_group *group = arg;

	if (atomic_load_explicit(&group->sessions, memory_order_relaxed) > 0)
		changes_note_entry(group, view, dir, name);
}

static bool hook_busy(void *arg, uint32_t view)
{
	return group_is_mounted(arg, view);
}

void hooks_set(struct mount_group *group)
{
	const struct store_hooks hooks = {
		.freeze = hook_freeze, .thaw = hook_thaw, .changed = hook_changed, .busy = hook_busy,
		.replaced = hook_replaced, .entry_changed = hook_entry_changed, .arg = group};

	store_set_hooks(group->store, &hooks);
}

void hooks_clear(struct mount_group *group)
{
	const struct store_hooks none = {0};

	store_set_hooks(group->store, &none);
}
