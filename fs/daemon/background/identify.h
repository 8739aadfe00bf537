/*
 * Computes the identities of snapshots in the background, on a thread of its own, oldest first. It does not hold up the collector, nor is
 * it held up by it (lib/identity/identity.c). Threads: any.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_IDENTIFY_H
#define CORPUSFS_DAEMON_BACKGROUND_IDENTIFY_H

#include "fs/daemon/background/pacer.h"
#include "fs/daemon/process/log.h"
#include "lib/store/store.h"

struct identify;

WARN_UNUSED int identify_start(struct store *store, struct pacer *pacer, struct log *log, struct identify **ret_identify);
void identify_free(struct identify *identify); /* after pacer_stop; NULL is fine */

#endif
