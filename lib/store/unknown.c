#include "lib/store/unknown.h"

#include <errno.h>
#include <string.h>

#include "lib/base/shell.h"
#include "lib/base/similar.h"
#include "lib/store/catalog.h"

int unknown_dataset(struct store *store, const char *name, struct error *err)
{
	struct similar similar = {.wanted = name};

	mutex_take(&store->catalog_lock);
	for (const struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next)
		if (!catalog_is_hidden(dataset->name))
			similar_try(&similar, dataset->name);
	mutex_give(&store->catalog_lock);
	error_set(err, -ENOENT, "there is no dataset \"%s\"", name);
	if (similar.best[0])
		error_hint(err, "did you mean \"%s\"?", similar.best);
	else
		error_hint(err, "corpusfs dataset list shows those there are");
	return -ENOENT;
}

int unknown_snapshot(struct store *store, const char *dataset_name, const char *name, struct error *err)
{
	struct similar similar = {.wanted = name};

	mutex_take(&store->catalog_lock);
	const struct dataset *dataset = catalog_dataset(store, dataset_name);
	for (size_t i = 0; dataset && i < dataset->order.count; i++)
		similar_try(&similar, dataset->order.items[i]->name);
	mutex_give(&store->catalog_lock);
	if (!dataset)
		return unknown_dataset(store, dataset_name, err);
	error_set(err, -ENOENT, "there is no snapshot \"%s@%s\"", dataset_name, name);
	if (similar.best[0])
		error_hint(err, "did you mean \"%s@%s\"?", dataset_name, similar.best);
	else
		error_hint_shell(err, "corpusfs snapshot list %s shows those there are", dataset_name);
	return -ENOENT;
}

int unknown_or_failed(struct store *store, const char *dataset, const char *name, int result, struct error *err)
{
	if (result == -ENOENT)
		return name ? unknown_snapshot(store, dataset, name, err) : unknown_dataset(store, dataset, err);
	return error_set(err, result, "%s \"%s%s%s\" could not be read: %s", name ? "snapshot" : "dataset", dataset, name ? "@" : "",
			 name ? name : "", error_text(result));
}
