#include "lib/store/mend_superblock.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/kv/kv.h"
#include "lib/store/lock.h"
#include "lib/store/store_dir.h"

#define DAMAGED_NAME SUPERBLOCK_NAME ".damaged"

static int replace(const struct store_dir *dir, const struct superblock *superblock, struct error *err)
{
	AUTO_FREE char *name = store_dir_inside(dir, SUPERBLOCK_NAME);
	AUTO_BUF text = BUF_INIT;
	int result = renameat(dir->fd, SUPERBLOCK_NAME, dir->fd, DAMAGED_NAME) < 0 && errno != ENOENT ? -errno : 0;

	superblock_encode(superblock, &text);
	if (result == 0)
		result = fault_point("mend-before-superblock");
	if (result == 0)
		result = file_replace(name, text.data, text.len, 0644);
	return result < 0 ? error_set(err, result, "%s/" SUPERBLOCK_NAME " cannot be written: %s", dir->path, error_text(result)) : 0;
}

static int replace_locked(const struct store_dir *dir, const struct superblock *superblock, struct error *err)
{
	struct lock *lock;
	int result = lock_take(dir, NULL, &lock, err);

	if (result < 0)
		return result;
	result = replace(dir, superblock, err);
	lock_undo(lock);
	return result;
}

/* `lost` is what is wrong with the superblock. */
static int mend(const struct store_dir *dir, bool apply, const struct error *lost, struct store_mended *mended, struct error *err)
{
	struct superblock copy;
	struct error ignored = {0};
	int result = store_dir_read_superblock(dir, SUPERBLOCK_COPY_NAME, &copy, &ignored);

	if (result < 0) {
		error_set(err, -EBADMSG, "%s, and its copy, " SUPERBLOCK_COPY_NAME ", is %s", lost->text, store_dir_has(dir, SUPERBLOCK_COPY_NAME) ? "damaged" : "missing");
		error_hint(err, "nothing was changed; put this file back from a copy of the store, or " DATABASE_HINT_ELSEWHERE);
		return -EBADMSG;
	}
	const bool was_there = store_dir_has(dir, SUPERBLOCK_NAME);

	if (apply)
		result = replace_locked(dir, &copy, err);
	if (result == 0 && apply && was_there)
		mended->kept = store_dir_inside(dir, DAMAGED_NAME);
	if (result == 0)
		mended->lost = xasprintf("%s; its copy stands for it", lost->text);
	return result;
}

int store_mend_superblock(const char *path, bool apply, struct store_mended *ret_mended, struct error *err)
{
	struct store_mended mended = {0};
	struct store_dir dir = STORE_DIR_CLOSED;
	struct superblock superblock;
	int result = store_dir_open(path, &dir, err);

	if (result == 0)
		result = store_dir_read_superblock(&dir, SUPERBLOCK_NAME, &superblock, err);
	if (result == -EBADMSG || result == -EIO) {
		const struct error lost = *err;
		*err = (struct error){0};
		result = mend(&dir, apply, &lost, &mended, err);
	}
	store_dir_close(&dir);
	if (result == 0)
		*ret_mended = mended;
	return result;
}
