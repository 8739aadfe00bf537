#include "fs/fuse/notify/hooks.h"

#include <string.h>

#include "fs/fuse/notify/changes.h"
#include "fs/fuse/notify/let_go.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/store/datasets.h"

/* Nobody is held back any more, so looking for the file's name may take its time. */
static void explain_lost(const struct mount_group *group, const struct lost_told *told, struct error *lost)
{
	AUTO_FREE char *name = told->file.view && told->file.ino != ROOT_INO ? store_file_name(group->store, told->file.view, told->file.ino) : NULL;

	if (name)
		error_set(lost, told->error, "what was stored into a mapping of %s is lost: %s", name, error_text(told->error));
	else
		error_set(lost, told->error, "some of what programs wrote or stored into mapped files is lost: %s", error_text(told->error));
	error_hint(lost, "%s/log says of which files; this is told once: the same command again goes on with what is left", store_path(group->store));
}

static int hook_freeze(void *arg, const uint32_t *views, size_t count, bool replaces, struct error *lost)
{
	struct mount_group *group = arg;
	struct lost_told told = {0};
	const int result = freeze_views(group->freeze, views, count, replaces, lost ? &told : NULL);

	if (told.error)
		explain_lost(group, &told, lost);
	return result;
}

/* dataset 0: there is none. */
static void note_head(struct mount_group *group, uint32_t dataset)
{
	struct dataset_info info;

	if (!dataset_get_by_id(group->store, dataset, &info))
		head_views_note(group->heads, dataset, info.view);
}

static void forget_root(const struct mount *mount, const struct dataset_info *info)
{
	const struct node root = {.kind = NODE_FILE, .view = info->view, .ino = ROOT_INO};

	(void)session_notify_inode(mount_session(mount), node_encode(root, &mount->gate.root));
}

static bool shows_head(const struct mount *mount, uint32_t dataset)
{
	return !mount->options.snapshot && (!mount->dataset || mount->dataset == dataset);
}

/*
 * From now on handles, the root's id and, with an epoch, names are asked about in the new head; nothing that the kernel remembers answers for
 * it. None of this makes the kernel send a request that it waits for, which would be held back.
 */
static void begin_head(struct mount_group *group, const struct dataset_info *info)
{
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);

	atomic_fetch_add(&group->generation, 1);
	head_views_note(group->heads, info->id, info->view);
	for (size_t i = 0; i < count; i++) {
		if (shows_head(mounts[i], info->id)) {
			(void)session_notify_epoch(mount_session(mounts[i]));
			forget_root(mounts[i], info);
		}
		mount_put(mounts[i]);
	}
	free(mounts);
}

/* Who was held back goes on: at the root of a head that was replaced, in the new one. */
static void hook_thaw(void *arg, const uint32_t *views, size_t count)
{
	struct mount_group *group = arg;
	struct dataset_info info;

	for (size_t i = 0; i < count; i++) {
		if (!dataset_get_by_id(group->store, head_views_dataset(group->heads, views[i]), &info) && info.view != views[i])
			begin_head(group, &info);
	}
	freeze_thaw(group->freeze);
}

/*
 * With an epoch, what the kernel remembers of the old nodes goes later. Without, it forgets the dataset's name, and all that is below it,
 * before this returns; what is in use there, and what it remembers in a mount of the dataset, has a short time (target_name_timeout).
 */
static void forget_head(struct mount *mount, const struct dataset_info *info, uint32_t old_view)
{
	if (session_has_epoch(mount_session(mount)))
		let_go(mount, old_view, info->view);
	else if (!mount->dataset)
		session_notify_entry(mount_session(mount), NODE_MOUNT_ROOT, info->name);
}

/* Follows hook_thaw(), where the gate is open: the kernel may have to wait for a request. */
static void hook_replaced(void *arg, uint32_t dataset, uint32_t old_view)
{
	struct mount_group *group = arg;
	struct dataset_info info;
	struct mount **mounts;
	size_t count;

	if (dataset_get_by_id(group->store, dataset, &info))
		return;
	count = group_mounts(group, &mounts);
	for (size_t i = 0; i < count; i++) {
		if (shows_head(mounts[i], dataset))
			forget_head(mounts[i], &info, old_view);
		mount_put(mounts[i]);
	}
	free(mounts);
	/* answers that were made before and are under way: who looks up a dataset's name is not held back, nor who notes what a listing told him */
	changes_note_head(group, info.view);
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
		note_head(group, dataset);
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

static int note_dataset(void *arg, const struct dataset_info *info)
{
	const struct mount_group *group = arg;

	head_views_note(group->heads, info->id, info->view);
	return 0;
}

void hooks_set(struct mount_group *group)
{
	const struct store_hooks hooks = {
		.freeze = hook_freeze, .thaw = hook_thaw, .changed = hook_changed, .busy = hook_busy,
		.replaced = hook_replaced, .entry_changed = hook_entry_changed, .arg = group};

	store_set_hooks(group->store, &hooks);
	/* of those that come from now on the store tells */
	(void)!dataset_list(group->store, note_dataset, group);
}

void hooks_clear(struct mount_group *group)
{
	const struct store_hooks none = {0};

	store_set_hooks(group->store, &none);
}

static int forget_each(void *arg, const struct dataset_info *info)
{
	forget_root(arg, info);
	return 0;
}

/*
 * With an epoch the kernel asks anew for every name; older ones do when names expire. The root of a mount, or of a dataset that is shown alone,
 * has no name there.
 */
void hooks_tell_all(struct mount *mount)
{
	(void)!session_notify_epoch(mount_session(mount));
	(void)!dataset_list(mount->group->store, forget_each, mount);
}
