#include "lib/base/impersonate.h"

#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

struct impersonate impersonate_as(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count)
{
	return (struct impersonate){
		.active = geteuid() == 0 && uid != 0, .uid = uid, .gid = gid, .groups = groups, .group_count = group_count};
}

void impersonate_prepare(const struct impersonate *user)
{
	/* The system call itself is about one thread; the C library's function would change all. */
	if (user->active && syscall(SYS_setgroups, user->group_count, user->groups) < 0)
		abort();
}

void impersonate_begin(const struct impersonate *user)
{
	if (!user->active)
		return;
	setfsgid(user->gid);
	setfsuid(user->uid);
	if ((uid_t)setfsuid((uid_t)-1) != user->uid)
		abort();
}

void impersonate_end(const struct impersonate *user)
{
	if (!user->active)
		return;
	setfsuid(geteuid());
	setfsgid(getegid());
}

bool impersonate_is_root(const struct impersonate *user)
{
	return geteuid() == 0 && !user->active;
}
