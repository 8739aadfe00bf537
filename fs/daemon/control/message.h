/*
 * Messages between commands and the daemon: JSON objects, one a line, over a stream socket or a pipe.
 *
 *   daemon -> client  {"hello": "corpusfs", "version": "0.1.0", "pid": 123}      once, when it serves the connection
 *   client -> daemon  {"op": "snapshot.create", "args": {...}, "signs": true}    as often as wanted, one at a time
 *   daemon -> client  {"progress": {...}} and {"row": {...}}                       any number
 *                     {"alive": "works" or "waits"}                                now and then, for who wants signs: it goes on, or waits as it should
 *                     {"result": {...}}                                          or
 *                     {"error": {"code": "ENOENT", "text": "...", "hint": "..."}}
 *
 * Rows come as the operation finds them. A client that does not read holds the operation up; what the daemon keeps for it is bounded.
 * Names are text by the rule of lib/ops/json.h.
 *
 * A request may bring one descriptor with it (SCM_RIGHTS): the stream that it reads or writes.
 *
 * -ESHUTDOWN as an error means: the daemon is leaving and has not done it; try again.
 */
#ifndef CORPUSFS_DAEMON_CONTROL_MESSAGE_H
#define CORPUSFS_DAEMON_CONTROL_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

#define MESSAGE_REQUEST_MAX (1U << 20)
#define MESSAGE_ANSWER_MAX (16U << 20)

/* Sends one message and drops the reference to it, also on failure. */
WARN_UNUSED int message_send(int fd, json_t *message);
WARN_UNUSED int message_send_with(int fd, json_t *message, int passed); /* with a descriptor, unless it is negative */

/*
 * What is to be sent, for who must not wait for a slow peer without a bound. One thread.
 *
 *   message_queue ... -> message_flush
 */
struct message_writer {
	int fd;
	struct buf buf; /* not sent yet: from `sent` on */
	size_t sent;
	bool (*gives_up)(void *arg); /* asked ten times a second while the peer takes nothing */
	void *arg;
};
/* Takes over the reference. -EILSEQ */
WARN_UNUSED int message_queue(struct message_writer *writer, json_t *message);
/* 0: all is sent; 1: without `wait`, some is left; -ETIMEDOUT: it gave up; -EPIPE and the like. */
WARN_UNUSED int message_flush(struct message_writer *writer, bool wait);
size_t message_queued(const struct message_writer *writer); /* bytes */
void message_writer_clear(struct message_writer *writer);

struct message_reader {
	int fd;
	size_t limit; /* of one message, bytes */
	struct buf buf;
	size_t at; /* where in buf the next message begins */
	bool takes_descriptors;
	int passed; /* one that came, owned, when takes_descriptors; else it is not looked at. -1: none */
};

/*
 * 1 and a message, 0 at the end of the stream, -EMSGSIZE, -EBADMSG for what is not a JSON object, -EAGAIN after the
 * socket's timeout.
 */
WARN_UNUSED int message_receive(struct message_reader *reader, json_t **ret_message);
void message_reader_clear(struct message_reader *reader);

json_t *message_from_error(const struct error *err);            /* {"error": {...}} */
int message_to_error(const json_t *message, struct error *err); /* fills err from it, returns its code (negative) */

#endif
