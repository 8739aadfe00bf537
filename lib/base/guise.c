#include "lib/base/guise.h"

#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

struct guise guise_of(uid_t uid, gid_t gid)
{
	return (struct guise){.active = uid != geteuid(), .uid = uid, .gid = gid};
}

void guise_prepare(const struct guise *guise)
{
	/* The system call itself is about one thread; the C library's function would change all. */
	if (guise->active && geteuid() == 0 && syscall(SYS_setgroups, 0, NULL) < 0)
		abort();
}

void guise_on(const struct guise *guise)
{
	if (!guise->active || geteuid() != 0)
		return;
	setfsgid(guise->gid);
	setfsuid(guise->uid);
	if ((uid_t)setfsuid((uid_t)-1) != guise->uid)
		abort();
}

void guise_off(const struct guise *guise)
{
	if (!guise->active || geteuid() != 0)
		return;
	setfsuid(geteuid());
	setfsgid(getegid());
}

bool guise_is_root(const struct guise *guise)
{
	return geteuid() == 0 && (!guise->active || guise->uid == 0);
}
