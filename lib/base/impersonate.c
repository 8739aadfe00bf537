#include "lib/base/impersonate.h"

#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

struct impersonation impersonate_as(uid_t uid, gid_t gid)
{
	return (struct impersonation){.active = uid != geteuid(), .uid = uid, .gid = gid};
}

void impersonate_prepare(const struct impersonation *caller)
{
	/* The system call itself is about one thread; the C library's function would change all. */
	if (caller->active && geteuid() == 0 && syscall(SYS_setgroups, 0, NULL) < 0)
		abort();
}

void impersonate_begin(const struct impersonation *caller)
{
	if (!caller->active || geteuid() != 0)
		return;
	setfsgid(caller->gid);
	setfsuid(caller->uid);
	if ((uid_t)setfsuid((uid_t)-1) != caller->uid)
		abort();
}

void impersonate_end(const struct impersonation *caller)
{
	if (!caller->active || geteuid() != 0)
		return;
	setfsuid(geteuid());
	setfsgid(getegid());
}

bool impersonate_is_root(const struct impersonation *caller)
{
	return geteuid() == 0 && (!caller->active || caller->uid == 0);
}
