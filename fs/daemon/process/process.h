/* The daemon as a process: into the background, with what it may take from the system. */
#ifndef CORPUSFS_DAEMON_PROCESS_PROCESS_H
#define CORPUSFS_DAEMON_PROCESS_PROCESS_H

#include <jansson.h>

#include "lib/base/error.h"

#define PROCESS_KEEPS_NONE 0U
#define DAEMON_PROCESS_NAME "corpusfsd" /* what `ps -o comm` shows; how commands know that a lock's owner is a daemon */

/*
 * Starts `run` in a process of its own session, its directory "/", without any descriptor of the caller but standard
 * error and those from the number `kept_from` on (PROCESS_KEEPS_NONE). `run` is given the end of a pipe on which it
 * sends one message ({"result": ...} or {"error": ...}, fs/daemon/control/message.h) when it is ready, and which it
 * then closes; what it returns is the process's exit code. Here, that message is waited for.
 */
WARN_UNUSED int process_spawn(int (*run)(void *arg, int ready_fd), void *arg, unsigned kept_from, json_t **ret_result, struct error *err);

/*
 * What a filesystem's daemon needs, as far as it is permitted: memory reclaim never waits for it (PR_SET_IO_FLUSHER),
 * the OOM killer looks at others first, enough descriptors; no core file, which would hold users' data. Before any
 * thread is made, which inherit it. -EMFILE, -ENOMEM, -EAGAIN: too few descriptors, addresses or threads are allowed.
 */
WARN_UNUSED int process_tune(struct error *err);

/*
 * SIGTERM, SIGINT and SIGHUP are read from a descriptor; beside it, one (eventfd) that other threads wake the main thread by. Neither read
 * waits. Before any thread is made: all inherit that these signals are blocked.
 */
WARN_UNUSED int process_take_signals(int *ret_signal_fd, int *ret_event_fd, struct error *err);

#endif
