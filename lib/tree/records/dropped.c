#include "lib/tree/records/dropped.h"

#include "lib/tree/records/view_inside.h"

uint64_t dropped_bytes(struct tree *tree)
{
	return atomic_load(&tree->dropped);
}

void dropped_add(struct tree *tree, uint64_t bytes)
{
	atomic_fetch_add(&tree->dropped, bytes);
}

void dropped_take(struct tree *tree, uint64_t bytes)
{
	atomic_fetch_sub(&tree->dropped, bytes);
}
