/*
 * --as-owner: root acts as the owner of a store, because root itself does not open one in which others can write
 * (lib/base/trusted.h). The process gives up all other rights for good, before it opens anything in the store.
 */
#ifndef CORPUSFS_CLI_OWNER_H
#define CORPUSFS_CLI_OWNER_H

#include "lib/base/error.h"

/*
 * `store` is a directory, or, for init, one that is not there yet and will belong to its parent's owner. Does nothing for who is the owner
 * already; -EPERM for other users than root.
 */
WARN_UNUSED int owner_become(const char *store, struct error *err);

#endif
