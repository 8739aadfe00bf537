#include "lib/verify/content_run.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/format/record.h"

#define WINDOW (2 * (size_t)CHUNK_LEN_MAX)

void content_run_init(struct content_run *run, struct wanted *wanted)
{
	*run = (struct content_run){.wanted = wanted, .window = xmalloc(WINDOW)};
}

void content_run_clear(struct content_run *run)
{
	free(run->window);
	*run = (struct content_run){0};
}

static int look(struct content_run *run, bool last)
{
	size_t used = 0;
	int result = wanted_look(run->wanted, run->window, run->have, last, &used);

	if (result != 0)
		return result;
	memmove(run->window, run->window + used, run->have - used);
	run->have -= used;
	return 0;
}

int content_run_add(struct content_run *run, const void *data, size_t len)
{
	const uint8_t *from = data;
	int result = 0;

	while (result == 0 && len > 0) {
		const size_t some = MIN(len, WINDOW - run->have);
		memcpy(run->window + run->have, from, some);
		run->have += some;
		from += some;
		len -= some;
		if (run->have == WINDOW)
			result = look(run, false);
	}
	return result;
}

int content_run_end(struct content_run *run)
{
	int result = look(run, true);

	run->have = 0;
	return result;
}

void content_run_drop(struct content_run *run)
{
	size_t used;

	run->have = 0;
	(void)!wanted_look(run->wanted, run->window, 0, true, &used);
}
