/* A command's side of the control socket. One thread. */
#ifndef CORPUSFS_DAEMON_CONTROL_CLIENT_H
#define CORPUSFS_DAEMON_CONTROL_CLIENT_H

#include <jansson.h>

#include "lib/base/error.h"

struct client;

/* -ENOENT or -ECONNREFUSED: no daemon listens (err is not set then); -EACCES: not permitted. */
WARN_UNUSED int client_connect(const char *store, struct client **ret_client, struct error *err);
void client_close(struct client *client); /* NULL is fine */

int client_fd(const struct client *client); /* of its connection; shut for writing, it cancels what was asked for */

/* The descriptor goes with the next call. It stays the caller's. */
void client_pass(struct client *client, int fd);

/*
 * `progress` may be NULL. -ESHUTDOWN: the daemon is leaving and has not done it. -ECONNRESET: it died; it may have
 * done it.
 */
WARN_UNUSED int client_call(struct client *client, const char *op, const json_t *args, void (*progress)(void *arg, json_t *state),
                            void *arg, json_t **ret_result, struct error *err);

/* Returns when the daemon has ended. */
void client_wait_end(struct client *client);

#endif
