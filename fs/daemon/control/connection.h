/*
 * The parts of the control socket: control.c lets connections in and sends them away, connection.c serves one. Internal to
 * fs/daemon/control.
 */
#ifndef CORPUSFS_DAEMON_CONTROL_CONNECTION_H
#define CORPUSFS_DAEMON_CONTROL_CONNECTION_H

#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

#include "fs/daemon/control/control.h"
#include "fs/daemon/control/message.h"
#include "fs/daemon/control/signs.h"

struct connection {
	struct connection *prev, *next;
	struct control *control;
	int fd;
	struct ucred peer;
	gid_t *groups; /* the peer's supplementary ones; owned */
	size_t group_count;
	atomic_bool cancelled;
	_Atomic uint64_t net_bytes; /* that came and went over the network for its operations */

	/* control.lock */
	bool gone;              /* the client hung up, or asked us to end what it called for */
	bool evicted;           /* it must go */
	bool busy;              /* it has asked for something: */
	char op[CONTROL_OP_MAX];
	uint64_t idle_since_ms; /* when it is not busy */
	bool wants_signs;       /* that it is still worked on */
	bool waits;             /* for something that may take any time, as it should */
	struct signs signs;

	pthread_mutex_t sending; /* guards the next; held while others are waited for, so whoever has control.lock may only try */
	struct message_writer writer;

	/* its own thread's */
	bool ending;                    /* rows are over, the result is being sent */
	uint64_t told_ms, rows_sent_ms; /* when progress and rows were sent last */
	uint64_t ending_ms, leaving_ms; /* since when; 0: not yet */
};

struct control {
	int dir; /* the store's */
	struct control_handler handler;
	int listen_fd, wake_fd;
	struct {
		dev_t dev;
		ino_t ino;
	} socket; /* ours, as it lies in the directory; 0: there is none */
	pthread_t acceptor;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t change;
	struct connection *connections;
	unsigned serving; /* connections that may use the store */
	unsigned waiting; /* connections that answer when it is closed */
	bool stopping, closed;
	int close_result;
	uint64_t told_ms; /* the acceptor's: when it last said who is worked for */
};

/* Serves the connection until it is over, takes it out of control's list and frees it. For pthread_create. */
void *connection_main(void *connection);

void connection_free(struct connection *connection); /* closes it */

/* Tells the client, if it wants to know, that its operation goes on. Caller holds control.lock. */
void connection_tell_alive(struct connection *connection);

void control_wake(struct control *control); /* the acceptor */

/* Tells somebody whose connection is not served, and who was sent nothing yet, why: it never waits for him. */
void connection_refuse(int fd, int code, const char *text);

#endif
