/* What /proc says of a process. Where it cannot be read, as with other users' processes under hidepid, nothing is known. Any thread. */
#ifndef CORPUSFS_BASE_PROCFS_H
#define CORPUSFS_BASE_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCFS_TEXT_MAX 64

/* The state's letter, as ps shows it, and when it started, in clock ticks after the boot. */
bool procfs_stat(pid_t pid, char *ret_state, uint64_t *ret_started);
/* Whether the process that was started then is there, and not a zombie: numbers are used again. */
bool procfs_lives(pid_t pid, uint64_t started);
pid_t procfs_parent(pid_t pid); /* 0: not known */
bool procfs_is_stopped(pid_t pid);                            /* by a signal or a debugger; false: not, or not known */
void procfs_name(pid_t pid, char ret_name[PROCFS_TEXT_MAX]);  /* the command's, as `ps -o comm` shows it; "" */
/* The function of the kernel in which a thread waits; "" when it does not, or it is not told. */
void procfs_waits_in(pid_t pid, pid_t thread, char ret_name[PROCFS_TEXT_MAX]);

#endif
