#include "lib/repository/read_several.h"

#include <stdlib.h>

#include "lib/base/pool.h"

#define THREADS 15 /* and who asks */

struct slots {
	const struct read_several *how;
	const struct blob_id *ids;
	struct error errors[READ_SEVERAL];
	int results[READ_SEVERAL];
};

static void read_one(void *arg, size_t slot)
{
	struct slots *slots = arg;
	char name[BLOB_ID_TEXT];

	blob_id_text(&slots->ids[slot], name);
	slots->errors[slot] = (struct error){0};
	slots->results[slot] = slots->how->read(slots->how->arg, slot, name, &slots->errors[slot]);
}

int read_several(const struct object_names *names, const struct read_several *how, struct error *err)
{
	const size_t at_once = how->at_once ? how->at_once : READ_SEVERAL, most = MIN(names->count, at_once);
	struct pool *pool = pool_new(most > 1 ? (unsigned)MIN(most - 1, (size_t)THREADS) : 0);
	struct slots *slots = xcalloc(1, sizeof(*slots));
	int r = 0;

	slots->how = how;
	for (size_t first = 0; first < names->count && r == 0; first += at_once) {
		const size_t count = MIN(names->count - first, at_once);

		slots->ids = names->items + first;
		pool_run(pool, read_one, slots, count);
		for (size_t i = 0; i < count; i++) {
			const int taken = how->take(how->arg, i, slots->results[i], r != 0);

			if (r != 0 || taken == 0)
				continue;
			r = taken;
			if (err && slots->results[i] < 0)
				*err = slots->errors[i];
		}
	}
	free(slots);
	pool_free(pool);
	return r;
}
