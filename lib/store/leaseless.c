#include "lib/store/leaseless.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/store/catalog.h"
#include "lib/store/replica.h"
#include "lib/store/uncommitted.h"

void dataset_set_end(struct store *store, uint32_t id, uint64_t end_ms)
{
	struct dataset *dataset;

	mutex_take(&store->catalog_lock);
	dataset = catalog_dataset_by_id(store, id);
	if (dataset)
		views_set_end(store, dataset, end_ms);
	mutex_give(&store->catalog_lock);
}

/* Caller holds catalog_lock. */
static bool is_leaseless(const struct dataset *dataset)
{
	return dataset->leaseless || (dataset->end_ms > 0 && clock_boot_ms() >= dataset->end_ms);
}

bool dataset_refuses(struct store *store, const struct dataset *dataset)
{
	bool is;

	mutex_take(&store->catalog_lock);
	is = dataset_is_locked(dataset) || is_leaseless(dataset);
	mutex_give(&store->catalog_lock);
	return is;
}

static int note(struct store *store, struct dataset *dataset, bool on)
{
	mutex_take(&store->catalog_lock);
	dataset->leaseless = on;
	mutex_give(&store->catalog_lock);
	return 0;
}

int dataset_set_leaseless(struct store *store, uint32_t id, bool on, struct error *err)
{
	struct error lost = {0};
	struct dataset *dataset;
	int result = store_begin_change(store, err);

	if (result < 0)
		return result;
	dataset = catalog_dataset_by_id(store, id);
	if (!dataset) {
		result = error_set(err, -ENOENT, "the dataset is not there any more");
	} else if (dataset->leaseless != on) {
		const uint32_t view = dataset->record.view;

		result = on ? fault_point("lease-before-lock") : fault_point("lease-before-unlock");
		if (result == 0)
			result = head_change_lock(store, dataset, note, on, &lost);
		if (result < 0) {
			error_set(err, result, "dataset \"%s\" cannot be made %s", dataset->name, on ? "read-only" : "writable");
			(void)uncommitted_explain_freeze(store, &view, 1, &lost, err);
		}
	}
	mutex_give(&store->change_lock);
	return result;
}

int dataset_refuse_locked(struct store *store, const char *name, struct error *err)
{
	const struct dataset *dataset;
	bool is;

	mutex_take(&store->catalog_lock);
	dataset = catalog_dataset(store, name);
	is = dataset && is_leaseless(dataset);
	mutex_give(&store->catalog_lock);
	if (!is)
		return replica_refuse(name, err);
	(void)error_set(err, -EROFS, "dataset \"%s\" is mounted to be written with a lease, and has none", name);
	error_hint(err, "corpusfs status says why; umount and mount take it anew");
	return -EROFS;
}
