#include "lib/store/mend_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/kv/mend.h"

static bool rename_in(const struct store_dir *dir, const char *from, const char *to)
{
	return renameat(dir->fd, from, dir->fd, to) == 0;
}

/* At one moment, where the filesystem can do that. After a failure all is as it was. */
static int exchange(const struct store_dir *dir, const char *one, const char *other)
{
	AUTO_FREE char *between = xasprintf("%s.exchanged", one);
	int result;

	if (renameat2(dir->fd, one, dir->fd, other, RENAME_EXCHANGE) == 0)
		return 0;
	if ((errno != EINVAL && errno != ENOSYS) || !rename_in(dir, one, between))
		return -errno;
	if (rename_in(dir, other, one)) {
		if (rename_in(dir, between, other))
			return 0;
		result = -errno;
		(void)!rename_in(dir, one, other);
	} else {
		result = -errno;
	}
	(void)!rename_in(dir, between, one);
	return result;
}

void mend_copy_drop(const struct store_dir *dir, struct mend_copy *copy)
{
	if (!copy->path)
		return;
	const char *kept = strrchr(copy->kept, '/') + 1;
	mend_remove(dir, MENDING_NAME);
	mend_remove(dir, kept);
	free(steal_ptr(copy->path));
	free(steal_ptr(copy->shown));
	free(steal_ptr(copy->kept));
}

int mend_copy_begin(const struct store_dir *dir, const char *name, struct mend_copy *ret_copy, struct error *err)
{
	AUTO_FREE char *db = store_dir_inside(dir, name);
	struct mend_copy copy = {0};
	int result = mend_keep(dir, db, &copy.kept, err);

	if (result < 0)
		return result;
	copy.path = store_dir_inside(dir, MENDING_NAME);
	copy.shown = xasprintf("%s/%s", dir->path, name);
	snprintf(copy.name, sizeof(copy.name), "%s", name);
	result = kv_mend_keep(db, copy.path);
	if (result < 0) {
		error_set(err, result, "%s/" MENDING_NAME ": %s; nothing was changed", dir->path, error_text(result));
		mend_copy_drop(dir, &copy);
		return result;
	}
	*ret_copy = copy;
	return 0;
}

int mend_copy_finish(const struct store_dir *dir, struct mend_copy *copy, char **ret_kept, struct error *err)
{
	int result = fault_point("mend-before-exchange");

	if (result == 0)
		result = exchange(dir, copy->name, MENDING_NAME);
	if (result < 0) {
		mend_copy_drop(dir, copy);
		return error_set(err, result, "the database of %s cannot be replaced by the mended one: %s", dir->path, error_text(result));
	}
	result = fsync(dir->fd) < 0 ? -errno : fault_point("mend-after-exchange");
	/* what was the database until now is kept as well */
	if (result == 0)
		mend_remove(dir, MENDING_NAME);
	*ret_kept = steal_ptr(copy->kept);
	free(steal_ptr(copy->path));
	free(steal_ptr(copy->shown));
	return result < 0 ? error_set(err, result, "%s: %s", dir->path, error_text(result)) : 0;
}
