#include "lib/base/array.h"

#include <stdint.h>

#include "lib/base/buf.h"

#define FIRST_ITEMS 8

void *array_room(void *items, size_t count, size_t *cap, size_t extra, size_t item_size)
{
	const size_t most = SIZE_MAX / 2 / item_size;

	if (extra <= *cap - count)
		return items;
	if (extra > most || count > most - extra)
		abort();
	size_t need = count + extra;
	size_t grown = MAX(*cap + *cap / 2, FIRST_ITEMS);

	*cap = MAX(need, MIN(grown, most));
	return xrealloc(items, *cap * item_size);
}

void *array_fitted(void *items, size_t count, size_t item_size)
{
	if (count > 0)
		return xrealloc(items, count * item_size);
	free(items);
	return NULL;
}
