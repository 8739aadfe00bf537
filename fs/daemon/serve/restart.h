/*
 * One daemon ends for another to go on with its mounts, which may be another version of the program (fs/supervise/supervisor.h). Programs that
 * use the mounts see a pause, as after a crash, but nothing is left to be written again: it is committed before.
 *
 *   restart_op: everything is committed, the program is passed to the supervisor --main thread--> restart_now: no more operations, the answer,
 *   the end --supervisor--> the program that was passed; or, if that does not come up, the one before
 */
#ifndef CORPUSFS_DAEMON_SERVE_RESTART_H
#define CORPUSFS_DAEMON_SERVE_RESTART_H

#include "fs/daemon/control/control.h"
#include "fs/daemon/process/log.h"
#include "fs/daemon/serve/requests.h"

/*
 * -EOPNOTSUPP: there is no supervisor; -EXDEV: the program leaves other things to its successors than this one takes over; -EBUSY: somebody
 * waits for an operation, which would be broken off; errors of committing. Then the daemon goes on.
 */
WARN_UNUSED int restart_op(struct requests *requests, struct control_call *call, json_t **ret_result, struct error *err);
/* -EOPNOTSUPP: a mount that is to have a supervisor, by its arguments, would have none. */
WARN_UNUSED int restart_check_supervised(const struct requests *requests, const json_t *args, struct error *err);
void restart_status(const struct requests *requests, json_t *status); /* adds {supervised, supervisor, crashes, restarts, fell_back} */

/* By the main thread, when `restart` of the requests is set. */
void __attribute__((noreturn)) restart_now(struct requests *requests, struct control *control, struct log *log);

#endif
