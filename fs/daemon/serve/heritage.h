/*
 * What daemons of one store leave to each other beside the sessions of its mounts: the options of the first, the store's lock, and the memory of
 * the journal. The supervisor holds it all (fs/supervise/supervisor.h).
 */
#ifndef CORPUSFS_DAEMON_SERVE_HERITAGE_H
#define CORPUSFS_DAEMON_SERVE_HERITAGE_H

#include <jansson.h>

#include "fs/supervise/keeper.h"
#include "lib/store/store.h"

/* Whether this kernel lets a session outlive its daemon; doctor says so, too. */
bool heritage_possible(void);

/* The options as text in the supervisor's memory, and back. -E2BIG; -EBADMSG. The JSON and the path are the caller's. */
WARN_UNUSED int heritage_write(struct supervisor_page *page, const char *store, const struct store_options *options, const json_t *mount);
WARN_UNUSED int heritage_read(const struct supervisor_page *page, json_t **ret_all, struct store_options *ret_options);

/* Before there is a supervisor: whether there is memory for what it keeps. -EACCES: it may not start this program; -ENOMEM and others */
WARN_UNUSED int heritage_try(const struct store_options *options);

/* Before the store is opened: sets options.heritage, with new memory for the first daemon. After it: what the store has is kept. */
WARN_UNUSED int heritage_take(struct keeper *keeper, struct store_options *options, int *ret_journal_fd, struct error *err);
WARN_UNUSED int heritage_leave(struct keeper *keeper, struct store *store, int journal_fd, struct error *err);

void heritage_memory(int journal_fd, struct memory_part *ret_part); /* of the journal; -1: there is none */

#endif
