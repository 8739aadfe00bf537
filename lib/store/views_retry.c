/* A change that may find a view used is tried again for a while. */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/store/catalog.h"

#define RETRY_MS 1000 /* requests in flight, and what a mount keeps open after it was replaced, give a view back within this time */

int views_try(struct store *store, views_attempt *attempt, void *arg, uint32_t *ret_used, struct error *err)
{
	int result = store_begin_change(store, err);

	if (result < 0)
		return result;
	result = attempt(arg, ret_used);
	mutex_give(&store->change_lock);
	return result;
}

int views_retry(struct store *store, views_attempt *attempt, void *arg, struct error *err)
{
	const uint64_t until_ms = clock_ms() + RETRY_MS;
	const struct timespec deadline = clock_after_ms(RETRY_MS);

	for (;;) {
		uint32_t used = 0;
		int result = views_try(store, attempt, arg, &used, err);

		if (result != -EAGAIN || !used)
			return result;
		if (clock_ms() >= until_ms || !views_wait_unused(store, used, &deadline))
			return -EBUSY;
	}
}
