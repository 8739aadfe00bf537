/* Views that operations look at. Internal to lib/ops. */
#ifndef CORPUSFS_OPS_OP_VIEWS_H
#define CORPUSFS_OPS_OP_VIEWS_H

#include <jansson.h>

#include "lib/store/store.h"

/* "DATASET" or "DATASET@NAME", with all that was written so far committed. Ends with store_view_put. */
WARN_UNUSED int op_open_view(struct store *store, const char *name, struct view **ret_view, struct error *err);

/*
 * A time: KEY in seconds since 1970, which are easy to use and lose its last digits, and KEY_ns, all of it in nanoseconds, unless it is too
 * far off for that.
 */
void op_set_time(json_t *object, const char *key, struct timespec time);

#endif
