#include "lib/store/leaseless.h"

#include <errno.h>

#include "lib/base/fault.h"
#include "lib/store/catalog.h"
#include "lib/store/replica.h"
#include "lib/store/uncommitted.h"

static int note(struct store *store, struct dataset *dataset, bool is_leaseless)
{
	mutex_take(&store->catalog_lock);
	dataset->leaseless = is_leaseless;
	mutex_give(&store->catalog_lock);
	return 0;
}

int dataset_set_leaseless(struct store *store, uint32_t id, bool is_leaseless, struct error *err)
{
	struct error lost = {0};
	struct dataset *dataset;
	int result = store_begin_change(store, err);

	if (result < 0)
		return result;
	dataset = catalog_dataset_by_id(store, id);
	if (!dataset) {
		result = error_set(err, -ENOENT, "the dataset is not there any more");
	} else if (dataset->leaseless != is_leaseless) {
		const uint32_t view = dataset->record.view;

		result = is_leaseless ? fault_point("lease-before-lock") : fault_point("lease-before-unlock");
		if (result == 0)
			result = head_change_lock(store, dataset, note, is_leaseless, &lost);
		if (result < 0) {
			error_set(err, result, "dataset \"%s\" cannot be made %s", dataset->name, is_leaseless ? "read-only" : "writable");
			(void)uncommitted_explain_freeze(store, &view, 1, &lost, err);
		}
	}
	mutex_give(&store->change_lock);
	return result;
}

int dataset_refuse_locked(struct store *store, const char *name, struct error *err)
{
	const struct dataset *dataset;
	bool is_leaseless;

	mutex_take(&store->catalog_lock);
	dataset = catalog_dataset(store, name);
	is_leaseless = dataset && dataset->leaseless;
	mutex_give(&store->catalog_lock);
	if (!is_leaseless)
		return replica_refuse(name, err);
	(void)error_set(err, -EROFS, "dataset \"%s\" is mounted to be written with a lease, and has none", name);
	error_hint(err, "corpusfs status says why; umount and mount take it anew");
	return -EROFS;
}
