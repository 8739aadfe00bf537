#include "fs/fuse/group/mount_group.h"

#include <stdarg.h>
#include <stdio.h>
#include <uthash.h>
#include <utlist.h>

#include "lib/base/buf.h"

struct open_count {
	uint32_t view;
	unsigned opens;
	UT_hash_handle hh;
};

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

void group_count_open(struct mount_group *group, struct view *view, int step)
{
	const uint32_t number = view_number(view);
	struct open_count *entry;

	if (!view_read_only(view))
		return;
	mutex_take(&group->lock);
	HASH_FIND(hh, group->open_counts, &number, sizeof(number), entry);
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry));
		entry->view = number;
		HASH_ADD(hh, group->open_counts, view, sizeof(entry->view), entry);
	}
	entry->opens += (unsigned)step;
	if (!entry->opens) {
		HASH_DEL(group->open_counts, entry);
		free(entry);
	}
	mutex_give(&group->lock);
}

bool group_in_use(struct mount_group *group, uint32_t view)
{
	struct open_count *entry;
	struct mount *mount;
	bool used;

	mutex_take(&group->lock);
	HASH_FIND(hh, group->open_counts, &view, sizeof(view), entry);
	used = entry != NULL;
	DL_FOREACH (group->mounts, mount)
		used |= mount->options.snapshot && mount_root_view(mount) == view;
	mutex_give(&group->lock);
	return used;
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
