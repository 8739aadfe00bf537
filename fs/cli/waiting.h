/*
 * For how long a command waits for a daemon that says nothing, and what it tells meanwhile. It gives up when there was no sign of life for
 * $CORPUSFS_PATIENCE seconds (600; 0: never), or when a signal asks it to end and the daemon does not let go of what it does.
 */
#ifndef CORPUSFS_CLI_WAITING_H
#define CORPUSFS_CLI_WAITING_H

#include "fs/daemon/control/client.h"

struct waiting {
	const char *store; /* borrowed */
	uint64_t patience_ms, tell_ms;
	uint64_t asked_to_end_ms; /* 0: it was not */
};

/* `waiting` and `store` must live as long as the client. */
void waiting_begin(struct waiting *waiting, const char *store, struct client *client);

#endif
