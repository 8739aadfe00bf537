/*
 * The gate: one instant for all writers of a view, although the kernel caches their writes.
 *
 * Closing it makes the sessions hold back the requests of some views before libfuse sees them; opening it feeds them
 * what was held. Requests by which the kernel brings in what it had accepted before pass always, and so do those
 * during which the kernel keeps write-back of the file waiting (truncation and its like): holding one of them would
 * make a flush wait for ever. Why that gives one instant is explained in freeze.c, where the steps are taken.
 *
 * Threads: any for what a session's reader threads do; the others one at a time (freeze.c's lock).
 */
#ifndef CORPUSFS_FUSE_FREEZE_GATE_H
#define CORPUSFS_FUSE_FREEZE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/fuse/freeze/lost.h"
#include "fs/fuse/freeze/writers.h"
#include "fs/fuse/session/node.h"
#include "fs/fuse/session/session.h"
#include "lib/base/clean.h"

struct gate;

/* A session at the gate. */
struct gate_session {
	struct session *session; /* first (session_start); set before its first request */
	struct gate *gate;
	struct node_root root; /* set before the first request */
	const char *mountpoint; /* where it shows first */
	atomic_uint connection; /* its number, as the aborter knows it; 0: it does not */
	struct writers writers;
	struct lost lost;
	struct gate_session *prev, *next; /* freeze.c's, like all below */
	struct write_back *write_back;
};

struct gate *gate_new(size_t held_max); /* bytes of requests that it holds at most; who comes then waits until it is opened */
void gate_free(struct gate *gate);

/* For the session's options. The session reads its requests past the gate. */
struct session_holder gate_holder(struct gate_session *session);

/* `replaces`: the views are of heads, which get others before it is opened. */
void gate_close(struct gate *gate, const uint32_t *views, size_t count, bool replaces);
/*
 * Waits until no request of the views is running any more, writes and those that only look aside, but for looks at the root of a head that is
 * replaced; or until no write is. -EBUSY after the time (clock_ms).
 */
WARN_UNUSED int gate_drain(struct gate *gate, uint64_t until_ms);
WARN_UNUSED int gate_drain_writes(struct gate *gate, uint64_t until_ms);
/* Opens it and runs what was held in the caller's thread. Nothing happens when it is open. */
void gate_open(struct gate *gate);
bool gate_is_full(struct gate *gate); /* somebody waits because it is: it should be opened soon */
uint64_t gate_moved(struct gate *gate); /* grows while the kernel brings in content past the closed gate */

#endif
