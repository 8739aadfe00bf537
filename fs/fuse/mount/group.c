#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <utlist.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/mount/mount.h"
#include "fs/fuse/mount/watch.h"
#include "fs/fuse/notify/changes.h"
#include "fs/fuse/notify/hooks.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/memory_limit.h"

struct mount_group *mount_group_new(struct store *store, const struct mount_log *log, struct keeper *keeper)
{
	const uint64_t names = memory_budget(NAME_PAGES_BUDGET, NAME_PAGES_LEAST);
	struct mount_group *group = xcalloc(1, sizeof(*group));
	struct stat stat_buf;

	group->store = store;
	group->log = *log;
	group->keeper = keeper;
	group->owner_uid = geteuid();
	group->owner_gid = getegid();
	if (!stat(store_path(store), &stat_buf)) {
		group->owner_uid = stat_buf.st_uid;
		group->owner_gid = stat_buf.st_gid;
	}
	atomic_store(&group->changed_s, clock_now().tv_sec);
	mutex_init(&group->lock, LOCK_FUSE_GROUP);
	pthread_cond_init(&group->ended_cond, NULL);
	recent_init(&group->recent);
	listers_init(&group->listers);
	name_pages_init(&group->name_pages, names, MIN(names / 4 * 3, NAME_PAGE_MOST));
	group->aborter = aborter_new(keeper);
	group->freeze = freeze_new(store);
	group->heads = head_views_new();
	group->latency = latency_new();
	group->worker = worker_new(SESSION_PLACE_WORKER);
	group->dropper = worker_new(SESSION_PLACE_DROPPER);
	group->digests = worker_new(SESSION_PLACE_DIGESTS);
	group->forgetter = worker_new(SESSION_PLACE_NONE);
	group->changes = changes_new(group);
	group->watch = watch_new(group);
	hooks_set(group);
	if (group->worker && group->dropper && group->digests && group->forgetter && group->changes && group->watch)
		return group;
	mount_group_free(group);
	return NULL;
}

void mount_group_settle(struct mount_group *group)
{
	changes_settle(group);
}

static bool can_tell_all_names(struct mount_group *group)
{
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);
	bool can = true;

	for (size_t i = 0; i < count; i++) {
		can &= mounts[i]->options.snapshot || session_has_epoch(mount_session(mounts[i]));
		mount_put(mounts[i]);
	}
	free(mounts);
	return can;
}

void mount_group_resumed(struct mount_group *group)
{
	if (changes_resume(group))
		return;
	group_log(group, "info", "more had changed than a daemon can leave to the next one: the kernel is told of all files that may have changed");
	if (!can_tell_all_names(group))
		group_log(group, "warning", "other mounts may show names as they were, for a day at most: the kernel is told of all names at once only since "
		                            "Linux 6.16");
}

void mount_group_free(struct mount_group *group)
{
	if (!group)
		return;
	mutex_take(&group->lock);
	while (group->alive)
		mutex_wait(&group->lock, &group->ended_cond);
	mutex_give(&group->lock);
	watch_free(group->watch);
	worker_free(group->worker);
	worker_free(group->dropper);
	worker_free(group->digests);
	worker_free(group->forgetter);
	changes_free(group->changes);
	hooks_clear(group);
	latency_free(group->latency);
	freeze_free(group->freeze);
	head_views_free(group->heads);
	aborter_free(group->aborter);
	recent_clear(&group->recent);
	listers_clear(&group->listers);
	name_pages_clear(&group->name_pages);
	pthread_cond_destroy(&group->ended_cond);
	mutex_clear(&group->lock);
	free(group);
}

void mount_group_names(struct mount_group *group, uint64_t *ret_bytes, uint64_t *ret_budget)
{
	*ret_bytes = name_pages_bytes(&group->name_pages);
	*ret_budget = group->name_pages.budget;
}

void mount_group_on_end(struct mount_group *group, void (*ended)(void *arg, struct mount *mount), void *arg)
{
	mutex_take(&group->lock);
	group->on_end = ended;
	group->on_end_arg = arg;
	mutex_give(&group->lock);
}

bool mount_group_has_device(struct mount_group *group, dev_t device)
{
	const struct mount *mount;
	bool has = false;

	mutex_take(&group->lock);
	DL_FOREACH (group->mounts, mount)
		has |= mount->gate.connection && major(device) == 0 && minor(device) == mount->gate.connection;
	mutex_give(&group->lock);
	return has;
}
