#include "fs/supervise/untold.h"

#include <string.h>

#define LOST_ROUNDS 2 /* the round that is under way may have begun before, and does not tell it */

_Static_assert(sizeof(struct untold_change) == 16, "no padding is left to the next daemon");

static void put(struct untold *untold, uint64_t at, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		untold->bytes[(at + i) % UNTOLD_BYTES] = ((const uint8_t *)data)[i];
}

static void get(const struct untold *untold, uint64_t at, void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = untold->bytes[(at + i) % UNTOLD_BYTES];
}

void untold_add(struct untold *untold, const struct untold_change *change, const char *name)
{
	const uint64_t to = atomic_load(&untold->to);
	struct untold_change put_change = *change;
	const size_t len = strnlen(name, UNTOLD_NAME_MAX);

	if (to - atomic_load(&untold->from) + sizeof(put_change) + len > UNTOLD_BYTES) {
		atomic_store(&untold->lost, LOST_ROUNDS);
		return;
	}
	put_change.len = (uint8_t)len;
	put(untold, to, &put_change, sizeof(put_change));
	put(untold, to + sizeof(put_change), name, len);
	atomic_store(&untold->to, to + sizeof(put_change) + len);
}

uint64_t untold_end(const struct untold *untold)
{
	return atomic_load(&untold->to);
}

void untold_told(struct untold *untold, uint64_t end)
{
	const uint32_t lost = atomic_load(&untold->lost);

	atomic_store(&untold->from, end);
	if (lost > 0)
		atomic_store(&untold->lost, lost - 1);
}

bool untold_each(const struct untold *untold, void (*each)(void *arg, const struct untold_change *change, const char *name), void *arg)
{
	const uint64_t to = atomic_load(&untold->to);
	uint64_t at = atomic_load(&untold->from);

	if (to - at > UNTOLD_BYTES)
		return false;
	while (at < to) {
		char name[UNTOLD_NAME_MAX + 1] = {0};
		struct untold_change change;

		if (to - at < sizeof(change))
			return false;
		get(untold, at, &change, sizeof(change));
		at += sizeof(change);
		if (to - at < change.len)
			return false;
		get(untold, at, name, change.len);
		at += change.len;
		each(arg, &change, name);
	}
	return atomic_load(&untold->lost) == 0;
}
