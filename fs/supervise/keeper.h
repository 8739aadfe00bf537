/*
 * The daemon's end of its supervisor (supervisor.h): what is to be kept is passed to it. Each call returns when the supervisor has it; or
 * after some seconds, -EAGAIN, if somebody has stopped it; -EMFILE: it has no room.
 *
 *   keeper_attach -> keeper_keep ... keeper_drop; it lives as long as the process
 *
 * Threads: any. Where the supervisor has gone, all do nothing.
 */
#ifndef CORPUSFS_SUPERVISE_KEEPER_H
#define CORPUSFS_SUPERVISE_KEEPER_H

#include "fs/supervise/kept.h"
#include "fs/supervise/supervisor.h"

struct keeper;

/* With the words that follow SUPERVISOR_ARGUMENT. *ret_ready_fd: where the first daemon says that it is ready; -1. */
WARN_UNUSED int keeper_attach(char **words, struct keeper **ret_keeper, int *ret_ready_fd);

struct supervisor_page *keeper_page(struct keeper *keeper);
bool keeper_lives(const struct keeper *keeper); /* the supervisor is there */
int keeper_socket(const struct keeper *keeper); /* hangs up when the supervisor ends */

/* A number for a new session; -EMFILE: there are too many. It is free again after keeper_drop. */
WARN_UNUSED int keeper_number(struct keeper *keeper);
WARN_UNUSED int keeper_keep(struct keeper *keeper, unsigned number, int fuse_fd, int memory_fd, int abort_fd);
void keeper_drop(struct keeper *keeper, unsigned number);
WARN_UNUSED int keeper_keep_store(struct keeper *keeper, int lock_fd, int journal_fd);
void keeper_keep_log(struct keeper *keeper, int fd);
/* What the next daemon is to be, when this one ends for it. -EPIPE: there is no supervisor any more. */
WARN_UNUSED int keeper_pass_program(struct keeper *keeper, int fd);

#endif
