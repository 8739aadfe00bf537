#include "lib/store/mend.h"

#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/kv/mend.h"
#include "lib/store/mend_keep.h"
#include "lib/store/mend_lost.h"
#include "lib/store/store.h"

void store_mended_clear(struct store_mended *mended)
{
	free(mended->lost);
	free(mended->kept);
}

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

struct mending {
	bool apply;
	char *shown; /* the database, by a path that is good for longer than the lock */
	struct store_mended mended;
};

static int mend(void *arg, const struct store_dir *dir, bool *changed, struct error *err)
{
	struct mending *mending = arg;
	struct store_mended *mended = &mending->mended;
	AUTO_FREE char *db = NULL;
	char name[DATABASE_NAME_MAX];
	int result = mend_find(dir, name, &db, &mending->shown, err);

	if (result == 0)
		result = kv_mend_look(db, mending->shown, &mended->lost, err);
	mended->is_unsure = result == 0 && mended->lost && kv_mend_is_unsure(db);
	if (result == 0 && mended->lost && mending->apply)
		result = keep_and_mend(dir, db, &mended->kept, err);
	*changed = mended->kept != NULL;
	return result;
}

static void mending_clear(struct mending *mending)
{
	free(mending->shown);
	store_mended_clear(&mending->mended);
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

/* What is lost, without a change; *ret_lost is NULL when nothing is. */
static int look(const char *path, char **ret_lost, bool *ret_unsure, struct error *err)
{
	struct mending looking = {.apply = false};
	int result = mend_locked(path, mend, &looking, err);

	if (result == 0 && looking.mended.lost)
		*ret_lost = with_names(path, looking.shown, steal_ptr(looking.mended.lost));
	*ret_unsure = looking.mended.is_unsure;
	mending_clear(&looking);
	return result;
}

int store_mend(const char *path, bool apply, struct store_mended *ret_mended, struct error *err)
{
	struct mending mending = {.apply = true};
	AUTO_FREE char *lost = NULL;
	bool is_unsure;
	int result = look(path, &lost, &is_unsure, err);

	if (result == 0 && lost && apply)
		result = mend_locked(path, mend, &mending, err);
	if (result == 0 && mending.mended.kept)
		result = open_once(path, err);
	if (result == 0)
		*ret_mended = (struct store_mended){.lost = steal_ptr(lost), .is_unsure = is_unsure, .kept = steal_ptr(mending.mended.kept)};
	mending_clear(&mending);
	return result;
}
