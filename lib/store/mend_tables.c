#include "lib/store/mend_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/kv/mend.h"
#include "lib/kv/mend_tables.h"
#include "lib/store/mend_copy.h"

#define CACHE (16U << 20)

/* The caller is told when it is done. */
struct looking {
	const struct store_mend_tables *options;
	bool any, chunks;
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

/* RocksDB opens it with what is left of the log, which was kept as well. */
static int open_mended(const char *db, const char *shown, const struct store_mend_tables *options, struct error *err)
{
	const struct kv_options kv_options = {.shown = shown, .cache_bytes = CACHE, .memtable_bytes = CACHE, .threads = 2};
	struct kv *kv;
	int result = kv_open(db, &kv_options, &kv, err);

	if (result < 0)
		return result;
	result = options->mended(options->arg, kv);
	kv_close(kv);
	return result;
}

static int mend_copy(const struct store_dir *dir, const char *name, struct looking *looking, char **ret_kept, char **ret_lost, struct error *err)
{
	struct mend_copy copy;
	int result = mend_copy_begin(dir, name, &copy, err);

	if (result < 0)
		return result;
	result = fault_point("mend-before-tables");
	if (result == 0)
		result = kv_mend_tables(copy.path, copy.shown, ret_lost, looking->chunks, apply_step, tell_table, looking, err);
	if (result == 0)
		result = open_mended(copy.path, copy.shown, looking->options, err);
	if (result == 0)
		return mend_copy_finish(dir, &copy, ret_kept, err);
	mend_copy_drop(dir, &copy);
	return error_default(err, result, "the tables of %s cannot be mended", dir->path);
}

struct mending {
	const struct store_mend_tables *options;
	char *kept, *lost;
};

static int mend(void *arg, const struct store_dir *dir, bool *changed, struct error *err)
{
	struct mending *mending = arg;
	struct looking looking = {.options = mending->options, .chunks = store_dir_has(dir, DAMAGE_MARK_NAME)};
	AUTO_FREE char *db = NULL, *shown = NULL;
	char name[DATABASE_NAME_MAX];
	int result = mend_find(dir, name, &db, &shown, err);

	if (result < 0)
		return result;
	result = kv_mend_tables(db, shown, NULL, looking.chunks, look_step, note_table, &looking, err);
	if (result < 0 || !mending->options->apply)
		return result;
	if (looking.any)
		result = mend_copy(dir, name, &looking, &mending->kept, &mending->lost, err);
	*changed = mending->kept != NULL;
	return result == 0 ? drop_mark(dir) : result;
}

int store_mend_tables(const char *path, const struct store_mend_tables *options, char **ret_kept, char **ret_lost, struct error *err)
{
	struct mending mending = {.options = options};
	int result = mend_locked(path, mend, &mending, err);

	if (result < 0)
		error_default(err, result, "the tables of %s cannot be mended", path);
	*ret_kept = mending.kept;
	*ret_lost = mending.lost;
	return result;
}
