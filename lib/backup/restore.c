#include "lib/backup/restore.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/backup/backup.h"
#include "lib/backup/restore_clear.h"
#include "lib/backup/restore_source.h"
#include "lib/backup/restore_total.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/identity/identity.h"
#include "lib/repository/locks.h"
#include "lib/store/snapshots.h"
#include "lib/transfer/import.h"

int restore_begin(struct restore *restore, struct error *err)
{
	const struct restore_options *options = restore->options;
	struct pool *pool = restore->pool = pool_new(transfer_workers() - 1);
	struct restore_source_options source = {.repository = options->repository, .store = restore->store, .pool = pool,
	                                        .snapshot = &restore->snapshot, .path = options->path,
	                                        .keep_going = options->keep_going, .only_walks = restore->only_walks};
	int r = repository_lock_take_to_read(options->repository, &restore->lock, err);

	/* In this order, so that the index names all that the backup does. */
	if (r == 0)
		r = backup_find_among(options->repository, options->backup, &options->filter, &restore->snapshot, &restore->result->others, err);
	if (r == 0)
		r = repository_load_index(options->repository, options->keep_going, err);
	if (r < 0)
		return r;
	memcpy(restore->result->backup, restore->snapshot.name, sizeof(restore->result->backup));
	restore->result->incomplete = !backup_is_complete(&restore->snapshot);
	if (options->transfer.count) {
		restore->total = restore_total_begin(&source, restore->total_bytes);
		source.total = restore->total_bytes;
	}
	return restore_source_new(&source, &restore->source, err);
}

void restore_end(struct restore *restore)
{
	restore_total_end(restore->total);
	if (restore->source)
		restore_source_bytes(restore->source, &restore->result->local, &restore->result->fetched);
	restore_source_free(restore->source);
	pool_free(restore->pool);
	snapshot_file_clear(&restore->snapshot);
	repository_lock_release(restore->lock);
}

/* --- into a dataset --- */

static int take_guard(struct restore *restore, struct error *err)
{
	struct restore_result *result = restore->result;
	const struct timespec now = clock_now();
	const struct snapshot_name name = {restore->options->dataset, result->guard};
	struct tm tm;
	int r;

	(void)gmtime_r(&now.tv_sec, &tm);
	(void)snprintf(result->guard, sizeof(result->guard), "before-restore-%04d%02d%02dT%02d%02d%02d.%03ldZ", tm.tm_year + 1900, tm.tm_mon + 1,
	               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000);
	r = snapshot_create(restore->store, &name, 1, "taken before a restore", 0, err);
	if (r < 0)
		result->guard[0] = '\0';
	return r;
}

/* Whether the backup is of the dataset: of its number, whatever it was called, or of its name, as in a store that is lost. */
static bool is_of(const struct restore *restore, const struct dataset_info *info)
{
	const struct snapshot_texts *paths = &restore->snapshot.paths;
	const char *of = snapshot_file_tag_value(&restore->snapshot, "dataset-id");
	AUTO_FREE char *id = backup_dataset_id(restore->store, info->id);

	return (of && strcmp(of, id) == 0) || (paths->count == 1 && paths->items[0][0] == '/' && strcmp(paths->items[0] + 1, info->name) == 0);
}

/* Before anything is changed. */
static int check_over(struct restore *restore, const struct dataset_info *info, struct error *err)
{
	const struct restore_options *options = restore->options;

	if (*options->path && is_of(restore, info))
		(void)error_set(err, -EINVAL, "dataset \"%s\" would become what is in \"%s\", and lose all else", options->dataset, options->path);
	else if (!restore_source_top(restore->source)->has_subtree)
		(void)error_set(err, -ENOTDIR, "what is wanted of the backup is not a directory");
	else
		return 0;
	error_hint(err, "to bring it back into a directory of the dataset: corpusfs restore REPOSITORY@%.8s MOUNTPOINT/%s/DIRECTORY --path %s",
	           restore->snapshot.name, options->dataset, options->path);
	return -EINVAL;
}

static int prepare_target(struct restore *restore, struct error *err)
{
	const struct restore_options *options = restore->options;
	struct dataset_info info;
	int r = dataset_get(restore->store, options->dataset, &info);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_set(err, r, "dataset \"%s\": %s", options->dataset, error_text(r));
	if (!options->over) {
		(void)error_set(err, -EEXIST, "there is a dataset \"%s\" already", options->dataset);
		error_hint(err, "restore under a new name, or with --over, which takes a guard snapshot first");
		return -EEXIST;
	}
	r = check_over(restore, &info, err);
	if (r == 0)
		r = take_guard(restore, err);
	if (r == 0)
		r = fault_point("restore-after-guard");
	if (r == 0)
		r = restore_clear(restore->store, options->dataset, options->repository, restore_source_top(restore->source), err);
	if (r == 0)
		r = fault_point("restore-after-clear");
	return r;
}

static int bring_in(struct restore *restore, struct error *err)
{
	const struct restore_options *options = restore->options;
	struct archive_source members = restore_source_members(restore->source);
	AUTO_FREE char *source = xasprintf("backup %.8s in %s", restore->snapshot.name, options->place);
	struct import_options import = {.transfer = options->transfer, .source = source, .source_fd = -1, .archive = archive_in_over(&members),
	                                .dataset = options->dataset, .path = "", .level = options->level};

	import.transfer.all = import.exact = options->over;
	return import_run(restore->store, &import, &restore->result->transfer, err);
}

const char *restore_uncompared(const struct restore *restore, uint64_t problems)
{
	if (*restore->options->path)
		return "it is a part of the backup";
	if (!backup_is_complete(&restore->snapshot))
		return "the backup is incomplete";
	if (problems > 0)
		return "not all of it came back";
	return restore_source_identity(restore->source) ? NULL : "the backup has none";
}

int restore_compare(struct restore *restore, const uint8_t identity[32], struct error *err)
{
	const char *wanted = restore_source_identity(restore->source);
	struct restore_result *result = restore->result;

	if (!wanted)
		return 0;
	identity_to_text(identity, result->identity);
	result->compared = true;
	result->same = strcmp(result->identity, wanted) == 0;
	if (result->same)
		return 0;
	/* What restic took out of it was meant to go: of what is left no identity is known. */
	if (restore->snapshot.is_rewritten) {
		result->compared = false;
		result->identity[0] = '\0';
		result->uncompared = "restic changed the backup after it was made";
		return 0;
	}
	return error_set(err, -EILSEQ, "what was restored is not what was backed up: its identity is %.16s, that of the backup %.16s", result->identity, wanted);
}

static int compare_identity(struct restore *restore, struct error *err)
{
	struct restore_result *result = restore->result;
	uint8_t identity[IDENTITY_LEN];
	struct view *view;
	int r;

	result->uncompared = restore_uncompared(restore, result->transfer.problems);
	if (result->uncompared)
		return 0;
	r = store_head(restore->store, restore->options->dataset, &view);
	if (r == 0) {
		r = identity_compute(restore->store, view, NULL, NULL, identity);
		store_view_put(restore->store, view);
	}
	if (r < 0)
		return error_set(err, r, "the identity of what was restored cannot be computed: %s", error_text(r));
	return restore_compare(restore, identity, err);
}

int restore_to_dataset(struct store *store, const struct restore_options *options, struct restore_result *ret_result, struct error *err)
{
	atomic_uint_fast64_t total = 0;
	struct restore restore = {.options = options, .store = store, .result = ret_result, .total_bytes = &total};
	int r = store_check_writable(store, err);

	*ret_result = (struct restore_result){0};
	if (r == 0)
		r = dataset_name_check("dataset", options->dataset, err);
	if (r == 0)
		r = restore_begin(&restore, err);
	if (r == 0)
		r = prepare_target(&restore, err);
	if (r == 0) {
		struct dataset_info info;

		r = bring_in(&restore, err);
		ret_result->is_begun = dataset_get(store, options->dataset, &info) == 0;
	}
	if (r == 0)
		r = compare_identity(&restore, err);
	restore_end(&restore);
	return r;
}
