/*
 * Computes the identities of snapshots in the background, on a thread of its own, oldest first; slowly, and slower while the mounts are
 * busy. It does not hold up the collector, nor is it held up by it (lib/identity/identity.c). Threads: any.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_IDENTIFY_H
#define CORPUSFS_DAEMON_BACKGROUND_IDENTIFY_H

#include "fs/daemon/process/log.h"
#include "fs/daemon/process/mounts.h"
#include "lib/store/store.h"

struct identify;

WARN_UNUSED int identify_start(struct store *store, struct mounts *mounts, struct log *log, struct identify **ret_identify);
void identify_stop(struct identify *identify); /* ends what runs, and frees; NULL is fine */

#endif
