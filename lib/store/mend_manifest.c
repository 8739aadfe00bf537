#include "lib/store/mend_manifest.h"

#include <errno.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/kv/mend.h"
#include "lib/store/mend_copy.h"

static int mend_copied(const struct store_dir *dir, const char *name, struct store_mended *mended, struct error *err)
{
	AUTO_FREE char *again = NULL;
	struct mend_copy copy;
	int result = mend_copy_begin(dir, name, &copy, err);

	if (result < 0)
		return result;
	result = fault_point("mend-before-manifest");
	if (result == 0)
		result = kv_mend_manifest(copy.path, copy.shown, true, &again, err);
	if (result == 0)
		return mend_copy_finish(dir, &copy, &mended->kept, err);
	mend_copy_drop(dir, &copy);
	return error_default(err, result, "the list of tables of %s cannot be mended", dir->path);
}

struct mending {
	bool apply;
	struct store_mended mended;
};

static int mend(void *arg, const struct store_dir *dir, bool *changed, struct error *err)
{
	struct mending *mending = arg;
	struct store_mended *mended = &mending->mended;
	AUTO_FREE char *db = NULL, *shown = NULL;
	char name[DATABASE_NAME_MAX];
	int result = mend_find(dir, name, &db, &shown, err);

	if (result < 0)
		return result;
	mended->unfinished = mend_is_unfinished(dir);
	if (mending->apply)
		mend_sweep(dir);
	result = kv_mend_manifest(db, shown, false, &mended->lost, err);
	if (result == 0 && mended->lost && mending->apply)
		result = mend_copied(dir, name, mended, err);
	*changed = mended->kept != NULL;
	return result;
}

int store_mend_manifest(const char *path, bool apply, struct store_mended *ret_mended, struct error *err)
{
	struct mending mending = {.apply = apply};
	int result = mend_locked(path, mend, &mending, err);

	if (result < 0)
		store_mended_clear(&mending.mended);
	else
		*ret_mended = mending.mended;
	return result;
}
