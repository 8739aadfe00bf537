#include "lib/backup/drill.h"

#include <errno.h>
#include <stdio.h>

#include "lib/backup/drill_scratch.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/repository/seal.h"

struct drill {
	const struct drill_options *options;
	struct store *store; /* NULL: into memory */
	unsigned number; /* of backups that were restored */
	int (*each)(void *arg, const struct drill_result *result);
	void *arg;
};

static int restore_one(struct drill *drill, const struct snapshot_file *snapshot, struct error *err)
{
	AUTO_FREE char *dataset = xasprintf("drill-%u", ++drill->number);
	const struct restore_options options = {.transfer = drill->options->transfer, .repository = drill->options->repository,
	                                        .place = drill->options->place, .backup = snapshot->name, .path = "", .dataset = dataset};
	struct drill_result result = {.dataset = backup_dataset(snapshot), .dataset_id = snapshot_file_tag_value(snapshot, "dataset-id"),
	                              .taken = snapshot->time};
	const uint64_t began = clock_us();
	int r = drill->store ? restore_to_dataset(drill->store, &options, &result.restore, err) : restore_to_memory(&options, &result.restore, err);

	result.seconds = (double)(clock_us() - began) / 1e6;
	if (r == 0 && result.restore.transfer.problems > 0)
		r = error_set(err, -EBADMSG, "backup %.8s did not come back whole", snapshot->name);
	return r < 0 ? r : drill->each(drill->arg, &result);
}

static bool is_wanted(const struct drill *drill, const struct snapshot_file *snapshot)
{
	const char *wanted = drill->options->dataset_id, *of = snapshot_file_tag_value(snapshot, "dataset-id");

	return !wanted || (of && strcmp(of, wanted) == 0 && backup_is_complete(snapshot));
}

/* The newest, and another one at random. */
static int restore_some(struct drill *drill, struct error *err)
{
	struct snapshot_files snapshots = {0};
	ARRAY(const struct snapshot_file *) wanted = {0};
	uint64_t random;
	int r = snapshot_files_read(drill->options->repository, false, &snapshots, err);

	for (size_t i = 0; i < snapshots.count && r == 0; i++)
		if (is_wanted(drill, &snapshots.items[i]))
			array_add(&wanted, &snapshots.items[i]);
	if (r == 0 && wanted.count == 0)
		r = error_set(err, -ENOENT, drill->options->dataset_id ? "the repository has no complete backup of the dataset" : "the repository has no backups");
	if (r == 0)
		r = restore_one(drill, *array_last(&wanted), err);
	if (r == 0 && wanted.count > 1) {
		seal_random(&random, sizeof(random));
		r = restore_one(drill, wanted.items[random % (wanted.count - 1)], err);
	}
	array_clear(&wanted);
	snapshot_files_clear(&snapshots);
	return r;
}

static int restore_named(struct drill *drill, struct error *err)
{
	struct snapshot_file snapshot;
	int r = backup_find(drill->options->repository, drill->options->backup, &snapshot, NULL, err);

	if (r < 0)
		return r;
	r = restore_one(drill, &snapshot, err);
	snapshot_file_clear(&snapshot);
	return r;
}

static int restore_what_is_wanted(struct drill *drill, struct error *err)
{
	return drill->options->backup ? restore_named(drill, err) : restore_some(drill, err);
}

static int in_store(struct drill *drill, const char *path, struct error *err)
{
	const struct store_options options = {0};
	int r = store_init(path, NULL, err), closed;

	if (r == 0)
		r = store_open(path, &options, &drill->store, err);
	if (r < 0)
		return r;
	r = restore_what_is_wanted(drill, err);
	closed = store_close(drill->store);
	return r == 0 && closed < 0 ? error_set(err, closed, "the scratch store: %s", store_close_failure(closed)) : r;
}

int drill_run(const struct drill_options *options, int (*each)(void *arg, const struct drill_result *result), void *arg, struct error *err)
{
	struct drill drill = {.options = options, .each = each, .arg = arg};
	struct drill_scratch scratch;
	AUTO_FREE char *path = NULL, *dir = NULL;
	int r, removed;

	if (!options->scratch)
		return restore_what_is_wanted(&drill, err);
	drill_scratch_sweep(options->scratch);
	r = drill_scratch_make(options->scratch, &scratch, err);
	if (r < 0)
		return r;
	dir = xstrdup(scratch.path);
	path = xasprintf("%s/store", dir);
	r = in_store(&drill, path, err);
	if (r == 0 && (r = fault_point("drill-restored")) < 0)
		r = error_set(err, r, "%s: %s", dir, error_text(r));
	removed = drill_scratch_remove(&scratch);
	return r == 0 && removed < 0 ? error_set(err, removed, "what the drill left in %s could not be removed: %s", dir, error_text(removed)) : r;
}
