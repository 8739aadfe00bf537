#include "lib/store/mend_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/kv/mend.h"
#include "lib/store/lock.h"

int mend_locked(const char *path, mend_fn mend, void *arg, struct error *err)
{
	struct store_dir dir = STORE_DIR_CLOSED;
	struct superblock superblock;
	struct lock *lock;
	bool changed = false;
	int result = store_dir_open_store(path, &dir, &superblock, err);

	if (result == 0)
		result = lock_take(&dir, NULL, &lock, err);
	if (result == 0) {
		result = mend(arg, &dir, &changed, err);
		if (changed)
			lock_release(lock);
		else
			lock_undo(lock);
	}
	store_dir_close(&dir);
	return result;
}

int mend_find(const struct store_dir *dir, char ret_name[DATABASE_NAME_MAX], char **ret_path, char **ret_shown, struct error *err)
{
	if (store_dir_find_database(dir, ret_name) < 0)
		return error_set(err, -EBADMSG, "the store %s has no database", dir->path);
	*ret_path = store_dir_inside(dir, ret_name);
	*ret_shown = xasprintf("%s/%s", dir->path, ret_name);
	return 0;
}

bool mend_is_unfinished(const struct store_dir *dir)
{
	return store_dir_has(dir, MENDING_NAME) || store_dir_has(dir, MENDING_KEPT_NAME);
}

void mend_remove(const struct store_dir *dir, const char *name)
{
	AUTO_FREE char *path = store_dir_inside(dir, name);

	if (file_empty_dir(path) == 0)
		(void)unlinkat(dir->fd, name, AT_REMOVEDIR);
}

void mend_sweep(const struct store_dir *dir)
{
	mend_remove(dir, MENDING_NAME);
	mend_remove(dir, MENDING_KEPT_NAME);
}

int mend_keep(const struct store_dir *dir, const char *db, char **ret_kept, struct error *err)
{
	char when[32];

	clock_format(clock_now().tv_sec, when);
	AUTO_FREE char *name = xasprintf(STORE_KEPT "%s", when);
	for (unsigned i = 2; store_dir_has(dir, name); i++) {
		free(name);
		name = xasprintf(STORE_KEPT "%s-%u", when, i);
	}
	mend_sweep(dir);
	AUTO_FREE char *copy = store_dir_inside(dir, MENDING_KEPT_NAME);
	int result = kv_mend_keep(db, copy);
	if (result == 0)
		result = fault_point("mend-before-kept");
	if (result == 0 && (renameat(dir->fd, MENDING_KEPT_NAME, dir->fd, name) < 0 || fsync(dir->fd) < 0))
		result = -errno;
	if (result < 0) {
		mend_remove(dir, MENDING_KEPT_NAME);
		return error_set(err, result, "%s/%s: %s; nothing was changed", dir->path, name, error_text(result));
	}
	*ret_kept = xasprintf("%s/%s", dir->path, name);
	return 0;
}
