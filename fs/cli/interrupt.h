/*
 * Ctrl-C for operations that must clean up: the first SIGINT, SIGTERM or SIGHUP cancels the operation, in this process or in the daemon,
 * and the command goes on when it has ended; the second one ends the process at once. One thread.
 *
 *   interrupt_watch -> the operation -> interrupt_came? -> interrupt_end
 */
#ifndef CORPUSFS_CLI_INTERRUPT_H
#define CORPUSFS_CLI_INTERRUPT_H

#include <stdatomic.h>
#include <stdbool.h>

void interrupt_watch(void);
/* The end of the process that started us is a SIGHUP. */
void interrupt_with_parent(void);
bool interrupt_came(void);
atomic_bool *interrupt_flag(void); /* becomes true with the first signal; false for ever when nobody watches */
/* The daemon's connection: the signal shuts it for writing, by which the daemon sees that it shall stop. -1: none. */
void interrupt_set_connection(int fd);
/* Ends the process with the signal that came, as if nobody had watched: a shell script shall see it. Returns if none came. */
void interrupt_end(void);
/* The same, and says before that it was interrupted; `left`: what that leaves, and how to go on. */
void interrupt_end_with(const char *left);

#endif
