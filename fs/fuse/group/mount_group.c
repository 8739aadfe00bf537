#include "fs/fuse/group/mount_group.h"

#include <stdarg.h>
#include <stdio.h>
#include <utlist.h>

#include "lib/base/buf.h"

void group_log(struct mount_group *group, const char *level, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (group->log.line)
		group->log.line(group->log.arg, level, text);
}

bool group_is_mounted(struct mount_group *group, uint32_t view)
{
	struct mount *mount;
	bool found = false;

	mutex_take(&group->lock);
	DL_FOREACH (group->mounts, mount)
		found |= mount->gate.root.snapshot == view;
	mutex_give(&group->lock);
	return found;
}

void group_add(struct mount_group *group, struct mount *mount)
{
	DL_APPEND(group->mounts, mount);
	atomic_fetch_add(&group->sessions, 1);
}

void group_remove(struct mount_group *group, struct mount *mount)
{
	DL_DELETE(group->mounts, mount);
	atomic_fetch_sub(&group->sessions, 1);
}

size_t group_mounts(struct mount_group *group, struct mount ***ret_mounts)
{
	struct mount *mount;
	size_t count = 0;

	mutex_take(&group->lock);
	DL_COUNT(group->mounts, mount, count);
	*ret_mounts = xcalloc(count + 1, sizeof(**ret_mounts));
	count = 0;
	DL_FOREACH (group->mounts, mount) {
		mount->refs++;
		(*ret_mounts)[count++] = mount;
	}
	mutex_give(&group->lock);
	return count;
}

static void mount_release(struct mount *mount)
{
	session_free(mount_session(mount));
	if (mount->pinned)
		store_view_put(mount->group->store, mount->pinned);
	writers_clear(&mount->gate.writers);
	lost_clear(&mount->gate.lost);
	opens_clear(&mount->opens);
	kept_unmap(mount->kept);
	pthread_mutex_destroy(&mount->keep_lock);
	if (mount->kept_fd >= 0)
		close(mount->kept_fd);
	free((char *)mount->options.mountpoint);
	free((char *)mount->options.dataset);
	free((char *)mount->options.snapshot);
	free((char *)mount->options.extra);
	free(mount);
}

void mount_get(struct mount *mount)
{
	mutex_take(&mount->group->lock);
	mount->refs++;
	mutex_give(&mount->group->lock);
}

void mount_put(struct mount *mount)
{
	struct mount_group *group = mount->group;
	bool last;

	mutex_take(&group->lock);
	last = --mount->refs == 0;
	mutex_give(&group->lock);
	if (!last)
		return;
	mount_release(mount);
	mutex_take(&group->lock);
	group->alive--;
	pthread_cond_broadcast(&group->ended_cond);
	mutex_give(&group->lock);
}
