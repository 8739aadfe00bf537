/* Views that operations look at. Internal to lib/ops. */
#ifndef CORPUSFS_OPS_OP_VIEWS_H
#define CORPUSFS_OPS_OP_VIEWS_H

#include <jansson.h>

#include "lib/store/store.h"

/* "DATASET" or "DATASET@NAME", with all that was written so far committed. Ends with store_view_put. */
WARN_UNUSED int op_open_view(struct store *store, const char *name, struct view **ret_view, struct error *err);

static inline double op_seconds(struct timespec time)
{
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

#endif
