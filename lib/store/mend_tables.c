#include "lib/store/mend_tables.h"

#include <errno.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/kv/mend_tables.h"
#include "lib/store/lock.h"
#include "lib/store/mend_keep.h"

/* The caller is told when it is done. */
struct looking {
	const struct store_mend_tables *options;
	bool any;
};

static int look_step(void *arg, uint64_t bytes)
{
	const struct looking *looking = arg;

	return looking->options->step ? looking->options->step(looking->options->arg, bytes) : 0;
}

static int note_table(void *arg, const struct kv_damaged_table *table)
{
	struct looking *looking = arg;

	looking->any = true;
	return looking->options->apply ? 0 : looking->options->each(looking->options->arg, table);
}

static int apply_step(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return 0;
}

static int tell_table(void *arg, const struct kv_damaged_table *table)
{
	const struct looking *looking = arg;

	return looking->options->each(looking->options->arg, table);
}

/* Every table was read whole, and the damaged ones are not there any more. */
static int drop_mark(const struct store_dir *dir)
{
	return unlinkat(dir->fd, DAMAGE_MARK_NAME, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int mend_locked(const struct store_dir *dir, const struct store_mend_tables *options, char **ret_kept, struct error *err)
{
	struct looking looking = {.options = options};
	const bool marked = store_dir_has(dir, DAMAGE_MARK_NAME);
	char name[DATABASE_NAME_MAX];
	int result = store_dir_find_database(dir, name);

	if (result < 0)
		return error_set(err, -EBADMSG, "the store %s has no database", dir->path);
	AUTO_FREE char *db = store_dir_inside(dir, name);
	AUTO_FREE char *shown = xasprintf("%s/%s", dir->path, name);
	AUTO_FREE char *kept = NULL;
	result = kv_mend_tables(db, shown, false, marked, look_step, note_table, &looking, err);
	if (result < 0 || !options->apply)
		return result;
	if (looking.any) {
		result = mend_keep(dir, db, &kept, err);
		if (result == 0)
			result = fault_point("mend-before-tables");
		if (result == 0)
			result = kv_mend_tables(db, shown, true, marked, apply_step, tell_table, &looking, err);
	}
	if (result == 0)
		result = drop_mark(dir);
	*ret_kept = steal_ptr(kept);
	return result;
}

int store_mend_tables(const char *path, const struct store_mend_tables *options, char **ret_kept, struct error *err)
{
	struct store_dir dir = STORE_DIR_CLOSED;
	struct superblock superblock;
	struct lock *lock = NULL;
	char *kept = NULL;
	int result = store_dir_open_store(path, &dir, &superblock, err);

	if (result == 0)
		result = lock_take(&dir, NULL, &lock, err);
	if (result == 0) {
		result = mend_locked(&dir, options, &kept, err);
		if (kept)
			lock_release(lock);
		else
			lock_undo(lock);
	}
	store_dir_close(&dir);
	if (result < 0)
		error_default(err, result, "the tables of %s cannot be mended", path);
	*ret_kept = kept;
	return result;
}
