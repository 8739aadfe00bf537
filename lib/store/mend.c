#include "lib/store/mend.h"

#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/kv/mend.h"
#include "lib/store/lock.h"
#include "lib/store/mend_keep.h"
#include "lib/store/mend_lost.h"
#include "lib/store/store.h"

void store_mended_clear(struct store_mended *mended)
{
	free(mended->lost);
	free(mended->kept);
}

/* Caller holds the store's lock. */
static int keep_and_mend(const struct store_dir *dir, const char *db, char **ret_kept, struct error *err)
{
	AUTO_FREE char *kept = NULL;
	int result = mend_keep(dir, db, &kept, err);

	if (result < 0)
		return result;
	result = fault_point("mend-before-log");
	if (result == 0)
		result = kv_mend_log(db);
	if (result < 0)
		return error_set(err, result, "the database of %s cannot be changed: %s", dir->path, error_text(result));
	*ret_kept = steal_ptr(kept);
	return 0;
}

static int mend_locked(const struct store_dir *dir, bool apply, struct store_mended *mended, struct error *err)
{
	AUTO_FREE char *db = NULL, *shown = NULL;
	char name[DATABASE_NAME_MAX];
	int result = mend_find(dir, name, &db, &shown, err);

	if (result < 0)
		return result;
	result = kv_mend_look(db, shown, &mended->lost, err);
	return result == 0 && mended->lost && apply ? keep_and_mend(dir, db, &mended->kept, err) : result;
}

/* What was kept of the log becomes tables at once: a second look must not find it as short as before. */
static int open_once(const char *path, struct error *err)
{
	struct store *store;
	int result = store_open(path, NULL, &store, err);

	if (result < 0)
		return result;
	result = store_close(store);
	return result < 0 ? error_set(err, result, "the store %s: %s", path, store_close_failure(result)) : 0;
}

/* Caller holds no lock of the store. */
static char *with_names(const char *path, const char *db, char *lost)
{
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "%s", lost);
	mend_lost_tell(path, db, &text);
	free(lost);
	return xstrdup((const char *)text.data);
}

/* What is lost, without a change; `lost` is NULL when nothing is. */
static int look(const struct store_dir *dir, const char *path, char **ret_lost, struct error *err)
{
	struct store_mended mended = {0};
	char name[DATABASE_NAME_MAX];
	struct lock *lock;
	int result = lock_take(dir, NULL, &lock, err);

	if (result < 0)
		return result;
	result = mend_locked(dir, false, &mended, err);
	lock_undo(lock);
	if (result == 0 && mended.lost && store_dir_find_database(dir, name) == 0) {
		AUTO_FREE char *db = store_dir_inside(dir, name);
		mended.lost = with_names(path, db, mended.lost);
	}
	*ret_lost = mended.lost;
	return result;
}

int store_mend(const char *path, bool apply, struct store_mended *ret_mended, struct error *err)
{
	struct store_mended mended = {0};
	struct store_dir dir = STORE_DIR_CLOSED;
	struct superblock superblock;
	struct lock *lock = NULL;
	int result = store_dir_open_store(path, &dir, &superblock, err);

	AUTO_FREE char *lost = NULL;
	if (result == 0)
		result = look(&dir, path, &lost, err);
	if (result == 0 && lost && apply) {
		result = lock_take(&dir, NULL, &lock, err);
		if (result == 0)
			result = mend_locked(&dir, true, &mended, err);
		if (mended.kept)
			lock_release(lock);
		else
			lock_undo(lock);
	}
	store_dir_close(&dir);
	if (result == 0 && mended.kept)
		result = open_once(path, err);
	if (result < 0) {
		store_mended_clear(&mended);
		return result;
	}
	free(mended.lost);
	mended.lost = steal_ptr(lost);
	*ret_mended = mended;
	return 0;
}
