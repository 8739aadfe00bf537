/*
 * What a damaged log has lost, as far as it can still be read: the changes behind the damage, in that log and in those after it. A record
 * that is damaged itself is passed over, so these are not all.
 */
#ifndef CORPUSFS_KV_LOST_CHANGES_H
#define CORPUSFS_KV_LOST_CHANGES_H

#include "lib/kv/kv.h"

/* Stops when it returns not 0. The key is valid during the call. */
typedef int (*lost_change_fn)(void *arg, enum kv_family family, const uint8_t *key, size_t key_len);

/* `path` as for kv_open; nobody changes the database meanwhile. 0 also when no log is damaged. */
WARN_UNUSED int lost_changes_each(const char *path, lost_change_fn each, void *arg);

#endif
