/* Who receives into which dataset, and where that is built. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/store/receiving.h"

int receiving_name(const char *dataset, char ret_name[NAME_LEN_MAX + 1], struct error *err)
{
	if (strlen(dataset) >= NAME_LEN_MAX)
		return error_set(err, -ENAMETOOLONG, "the name of a dataset that streams come into has at most %d bytes", NAME_LEN_MAX - 1);
	snprintf(ret_name, NAME_LEN_MAX + 1, "@%s", dataset);
	return 0;
}

/* Caller holds catalog_lock. */
static bool is_claimed(const struct store *store, const char *dataset)
{
	for (size_t i = 0; i < store->receivers.count; i++)
		if (strcmp(store->receivers.items[i], dataset) == 0)
			return true;
	return false;
}

static int claimed(const char *dataset, struct error *err)
{
	return error_set(err, -EBUSY, "a stream is being received into dataset \"%s\"", dataset);
}

int receiving_claim(struct store *store, const char *dataset, struct error *err)
{
	mutex_take(&store->catalog_lock);
	const bool is_taken = is_claimed(store, dataset);
	if (!is_taken)
		array_add(&store->receivers, xstrdup(dataset));
	mutex_give(&store->catalog_lock);
	return is_taken ? claimed(dataset, err) : 0;
}

int receiving_check_idle(struct store *store, const char *dataset, struct error *err)
{
	mutex_take(&store->catalog_lock);
	const bool is_taken = is_claimed(store, dataset);
	mutex_give(&store->catalog_lock);
	return is_taken ? claimed(dataset, err) : 0;
}

void receiving_release(struct store *store, const char *dataset)
{
	mutex_take(&store->catalog_lock);
	for (size_t i = 0; i < store->receivers.count; i++) {
		if (strcmp(store->receivers.items[i], dataset) != 0)
			continue;
		free(store->receivers.items[i]);
		array_remove(&store->receivers, i, 1);
		break;
	}
	if (store->receivers.count == 0)
		array_clear(&store->receivers);
	mutex_give(&store->catalog_lock);
}
