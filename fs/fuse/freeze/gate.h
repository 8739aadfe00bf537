/*
 * The gate: one instant for all writers of a view, although the kernel caches their writes.
 *
 * Closing it makes the sessions hold back the requests of some views before libfuse sees them; opening it feeds them
 * what was held. Requests by which the kernel brings in what it had accepted before pass always, and so do those
 * during which the kernel keeps write-back of the file waiting (truncation and its like): holding one of them would
 * make a flush wait for ever. Why that gives one instant is explained in group.c, where the steps are taken.
 *
 * Threads: gate_enter and gate_leave any; the others one at a time (group.c's notify lock).
 */
#ifndef CORPUSFS_FUSE_FREEZE_GATE_H
#define CORPUSFS_FUSE_FREEZE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct gate;
struct session;

/* One per reader thread: the view whose request it is running (`writes`: a write), 0 for none or one that the gate does not care about. */
struct gate_slot {
	_Atomic uint32_t view, writes;
	struct gate_slot *prev, *next; /* gate's list; its lock */
};

struct gate *gate_new(void);
void gate_free(struct gate *gate);
void gate_add_slot(struct gate *gate, struct gate_slot *slot);
void gate_remove_slot(struct gate *gate, struct gate_slot *slot);

/* True: go on, and call gate_leave afterwards. False: the request was copied and is held. */
bool gate_enter(struct gate *gate, struct gate_slot *slot, struct session *session, const void *request, size_t len);
void gate_leave(struct gate_slot *slot);

void gate_close(struct gate *gate, const uint32_t *views, size_t count);
/* Waits until no request of the views is running any more, reads and writes aside; or until no write is. -EBUSY after the time (clock_ms). */
WARN_UNUSED int gate_drain(struct gate *gate, uint64_t until_ms);
WARN_UNUSED int gate_drain_writes(struct gate *gate, uint64_t until_ms);
/* Opens it and runs what was held in the caller's thread. Nothing happens when it is open. */
void gate_open(struct gate *gate);

#endif
