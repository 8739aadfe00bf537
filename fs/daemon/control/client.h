/*
 * A command's side of the control socket. Nobody waits for a daemon that does not live: one that is stopped, or greets nobody any more, gives
 * -ETIMEDOUT, with its pid in the text. One thread.
 */
#ifndef CORPUSFS_DAEMON_CONTROL_CLIENT_H
#define CORPUSFS_DAEMON_CONTROL_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "lib/base/error.h"

struct client;

/* -ENOENT or -ECONNREFUSED: no daemon listens (err is not set then); -EACCES: not permitted. */
WARN_UNUSED int client_connect(const char *store, struct client **ret_client, struct error *err);
void client_close(struct client *client); /* NULL is fine */

/* While nothing comes of what was asked for. */
struct client_silence {
	pid_t daemon;      /* 0: not known */
	uint64_t quiet_ms; /* since there was a row, progress or the answer */
	uint64_t dead_ms;  /* since there was any sign that it goes on */
};

/* `look` is called about once a second; -ETIMEDOUT, with a text in err, ends the call. Then the client must be closed. */
void client_on_silence(struct client *client, int (*look)(void *arg, const struct client_silence *silence, struct error *err), void *arg);

void client_limit(struct client *client, uint64_t ms); /* from now on, for all that is waited for: then -ETIMEDOUT, too */

int client_fd(const struct client *client); /* of its connection; shut for writing, it cancels what was asked for */

/* The descriptor goes with the next call. It stays the caller's. */
void client_pass(struct client *client, int fd);

/* Where to put what comes before the result. Both functions may be NULL, and get borrowed objects. */
struct client_sink {
	void (*progress)(void *arg, json_t *state);
	void *progress_arg;
	int (*row)(void *arg, json_t *row); /* a negative errno ends the call with that; then the client must be closed */
	void *row_arg;
};

/*
 * `sink` may be NULL. -ESHUTDOWN: the daemon is leaving and has not done it, or not all when there were rows. -ECONNRESET: it died; it may
 * have done it.
 */
WARN_UNUSED int client_call(struct client *client, const char *op, const json_t *args, const struct client_sink *sink, json_t **ret_result,
                            struct error *err);

/* Returns when the daemon has ended, or does not answer any more. */
void client_wait_end(struct client *client);

#endif
