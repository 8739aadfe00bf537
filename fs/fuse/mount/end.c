/* How a mount ends: by mount_stop, by mount_abort, or by anybody's umount, and what is then done in any case. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <utlist.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/mount/end.h"
#include "fs/fuse/mount/mount.h"
#include "fs/fuse/session/node.h"
#include "fs/fuse/session/system.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/store/uncommitted.h"

#define RETRY_US 10000

static void *end_main(void *arg)
{
	struct mount *mount = arg;
	struct mount_group *group = mount->group;
	void (*on_end)(void *on_end_arg, struct mount *ended);
	void *on_end_arg;

	atomic_store(&mount->leaving, true);
	/* What is held at the gate or queued for the worker still belongs to this session. */
	freeze_await(group->freeze);
	worker_drain(group->worker, mount);
	worker_drain(group->dropper, mount);
	opens_end(&mount->opens, mount);
	mount->result = store_sync(group->store);
	if (!mount->result)
		mount->result = mount_lost(group, mount);
	if (mount->result) {
		struct error err = {0};

		error_set(&err, mount->result, "commit at the end of %s failed", mount->options.mountpoint);
		(void)uncommitted_explain(group->store, NULL, 0, &err);
		group_log(group, "error", "%s", err.text);
	}
	if (!mount->read_only)
		freeze_detach(group->freeze, &mount->gate);
	pthread_mutex_lock(&mount->keep_lock);
	if (mount->kept_fd >= 0)
		keeper_drop(group->keeper, mount->number);
	mount->is_dropped = true;
	pthread_mutex_unlock(&mount->keep_lock);
	mutex_take(&group->lock);
	group_remove(group, mount);
	mount->ended = true;
	if (mount->gate.connection)
		aborter_remove(group->aborter, mount->gate.connection);
	on_end = group->on_end;
	on_end_arg = group->on_end_arg;
	pthread_cond_broadcast(&group->ended_cond);
	mutex_give(&group->lock);
	if (on_end)
		on_end(on_end_arg, mount);
	mount_put(mount);
	return NULL;
}

void mount_session_ended(void *arg)
{
	pthread_t thread;

	/* the mount is gone: this goes on as soon as a thread can be had */
	while (pthread_create(&thread, NULL, end_main, arg))
		clock_pause_us(RETRY_US);
	pthread_detach(thread);
}

bool mount_is_ending(const struct mount *mount)
{
	struct pollfd polled = {.fd = session_fd(mount_session(mount))};

	return atomic_load(&mount->leaving) || poll(&polled, 1, 0) < 0 || (polled.revents & (POLLERR | POLLNVAL));
}

bool mount_shows_at(const struct mount *mount, const char *mountpoint)
{
	struct system_mount there;

	return !system_find_mount(mountpoint, &there) && there.minor == mount->gate.connection && !strncmp(there.type, "fuse", 4);
}

/* Whoever mounts anything next may get the number of a session that has ended. The kernel ends it before it gives the number away: that is asked last. */
bool mount_shows_anywhere(const struct mount *mount)
{
	return mount->gate.connection && system_device_mounted(mount->gate.connection) && !mount_is_ending(mount);
}

int mount_stop(struct mount *mount, const char *path, bool lazy, struct error *err)
{
	struct mount_group *group = mount->group;
	int result;

	mount_get(mount);
	result = mount_flush_kernel(group, mount);
	if (result && lazy)
		lost_note(&mount->gate.lost, NODE_MOUNT_ROOT, result);
	if (!result || lazy)
		result = system_umount(path, lazy);
	if (!result)
		result = fault_point("mount-after-umount");
	if (result == -EBUSY) {
		error_set(err, result, "%s is in use", path);
		error_hint_shell(err, "fuser -vm %s shows by whom; corpusfs umount --lazy %s detaches it now", path, path);
	} else if (result) {
		error_set(err, result, "cannot unmount %s: %s", path, error_text(result));
	}
	mount_put(mount);
	return result;
}

int mount_result(struct mount *mount)
{
	int result;

	mutex_take(&mount->group->lock);
	result = mount->result;
	mutex_give(&mount->group->lock);
	return result;
}

void mount_abort(struct mount *mount)
{
	struct mount_group *group = mount->group;

	const int result = mount_flush_kernel(group, mount);

	if (result) {
		lost_note(&mount->gate.lost, NODE_MOUNT_ROOT, result);
		group_log(group, "warning", "write-back of %s failed", mount->options.mountpoint);
	}
	mutex_take(&group->lock);
	if (!mount->ended && mount->gate.connection)
		aborter_abort(group->aborter, mount->gate.connection);
	mutex_give(&group->lock);
}

int mount_flush_kernel(struct mount_group *group, struct mount *mount)
{
	return mount && mount->read_only ? 0 : freeze_write_back(group->freeze, mount ? &mount->gate : NULL);
}

int mount_lost(struct mount_group *group, struct mount *mount)
{
	return mount && mount->read_only ? 0 : freeze_lost(group->freeze, mount ? &mount->gate : NULL, LOST_SYNC);
}

void mount_group_note_lost(struct mount_group *group, uint32_t view, uint64_t ino, int error)
{
	const struct node node = {.kind = NODE_FILE, .view = view, .ino = ino};
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);

	for (size_t i = 0; i < count; i++) {
		const uint32_t root_view = mount_root_view(mounts[i]);

		if (!mounts[i]->read_only && (!root_view || root_view == view))
			lost_note(&mounts[i]->gate.lost, node_encode(node, &mounts[i]->gate.root), error);
		mount_put(mounts[i]);
	}
	free(mounts);
}

int mount_look_lost(struct mount *mount)
{
	return mount->read_only ? 0 : freeze_lost(mount->group->freeze, &mount->gate, LOST_LOOK);
}
