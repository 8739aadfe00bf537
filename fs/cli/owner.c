#include "fs/cli/owner.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"

static int find_owner(const char *store, struct stat *ret_st)
{
	AUTO_FREE char *copy = xstrdup(store);

	if (stat(store, ret_st) == 0)
		return 0;
	return errno == ENOENT && stat(dirname(copy), ret_st) == 0 ? 0 : -errno;
}

static int change_to(uid_t uid, gid_t gid)
{
	const struct passwd *user = getpwuid(uid);

	/* A number without a name has no groups but that of the directory. */
	if (user ? initgroups(user->pw_name, user->pw_gid) < 0 : setgroups(1, &gid) < 0)
		return -errno;
	if (user)
		gid = user->pw_gid;
	return setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ? -errno : 0;
}

int owner_become(const char *store, struct error *err)
{
	struct stat st;
	int result = find_owner(store, &st);

	if (result < 0)
		return error_set(err, result, "%s: %s", store, error_text(result));
	if (st.st_uid == geteuid())
		return 0;
	if (geteuid() != 0)
		return error_set(err, -EPERM, "%s belongs to another user, and only root can act as that user", store);
	result = change_to(st.st_uid, st.st_gid);
	return result < 0 ? error_set(err, result, "user %u, who owns %s: %s", (unsigned)st.st_uid, store, error_text(result)) : 0;
}
