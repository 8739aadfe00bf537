/*
 * The control socket, STORE/socket: accepts connections of root and of the user it runs as (SO_PEERCRED), and gives each
 * a thread that reads requests and sends answers (fs/daemon/control/message.h). A client that goes away cancels what it asked
 * for. When there are too many, who has been idle for the longest must go.
 *
 *   control_start -> ... -> control_stop -> (the store is closed) -> control_finish
 *
 * control_stop takes the socket away, cancels what runs and waits for all connections but those whose answer waits for
 * the store to be closed; control_finish lets those answer.
 */
#ifndef CORPUSFS_DAEMON_CONTROL_CONTROL_H
#define CORPUSFS_DAEMON_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lib/ops/ops.h"

#define DAEMON_SOCKET "socket" /* in the store's directory */

#define CONTROL_OP_MAX 48

struct control;
struct connection;

struct control_call {
	struct connection *connection; /* control's own */
	const char *op;
	const json_t *args;
	enum op_role role; /* of who asks */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary ones */
	size_t group_count;
	int fd; /* that came with the request; -1: none */
	atomic_bool *cancelled;
	void (*progress)(void *arg, json_t *state); /* at most ten a second are sent, and none to who does not read */
	void *progress_arg;
	int (*row)(void *arg, json_t *row); /* waits for who is slow to read, as long as nobody cancels */
	void *row_arg;
	_Atomic uint64_t *net_bytes; /* grows with what comes and goes over the network: a sign of life */
	bool answer_when_closed; /* set by the handler: the result is sent when the store is closed, and only if that went well */
};

struct control_handler {
	int (*run)(void *arg, struct control_call *call, json_t **ret_result, struct error *err);
	void *arg;
};

/* `store_dir` is the descriptor of the store's directory; it stays the caller's and is open until control_stop. */
WARN_UNUSED int control_start(int store_dir, const struct control_handler *handler, struct control **ret_control,
                              struct error *err);
void control_stop(struct control *control);
void control_remove_socket(struct control *control); /* if it is still ours: whoever has the store now may have made another */
void control_finish(struct control *control, int close_result); /* and frees it; NULL is fine */

/* From now on the operation waits for something that may take any time; to be said by a handler. Who asked is to wait, too. */
void control_waits(const struct control_call *call);

/* Whether anybody else waits for an operation just now, and for which; to be asked by a handler. */
bool control_others(const struct control_call *call, char ret_op[CONTROL_OP_MAX]);

#endif
