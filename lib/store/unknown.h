/*
 * What is said of a name that is not in the store: the one way, with the name that may be meant. Any thread; takes catalog_lock.
 */
#ifndef CORPUSFS_STORE_UNKNOWN_H
#define CORPUSFS_STORE_UNKNOWN_H

#include "lib/base/error.h"

struct store;

/* Both fill err and return -ENOENT. */
int unknown_dataset(struct store *store, const char *name, struct error *err);
int unknown_snapshot(struct store *store, const char *dataset, const char *name, struct error *err); /* or its dataset */
/* For a failure to find either, `name` NULL: the dataset. Other failures than -ENOENT are told with their reason. Returns `result`. */
int unknown_or_failed(struct store *store, const char *dataset, const char *name, int result, struct error *err);

#endif
