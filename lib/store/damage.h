/* Which file a damaged chunk was found in, for the log. Internal to lib/store. */
#ifndef CORPUSFS_STORE_DAMAGE_H
#define CORPUSFS_STORE_DAMAGE_H

#include "lib/store/catalog.h"

/* As tree_options.damaged; `arg` is the store. */
void store_tell_damage(void *arg, struct view *view, uint64_t ino, uint64_t offset, uint64_t chunk);

#endif
