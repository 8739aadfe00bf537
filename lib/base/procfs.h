/* What /proc says of a process. Where it cannot be read, as with other users' processes under hidepid, nothing is known. Any thread. */
#ifndef CORPUSFS_BASE_PROCFS_H
#define CORPUSFS_BASE_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCFS_TEXT_MAX 64
#define PROCFS_BOOT_MAX 37
#define PROCFS_PLACE_MAX 96
#define PROCFS_MACHINE_MAX 33

/* The state's letter, as ps shows it, and when it started, in clock ticks after the boot. */
bool procfs_stat(pid_t pid, char *ret_state, uint64_t *ret_started);
pid_t procfs_parent(pid_t pid); /* 0: not known */
void procfs_boot(char ret_boot[PROCFS_BOOT_MAX]); /* another one each time a machine starts; "": not known */
void procfs_machine(char ret_machine[PROCFS_MACHINE_MAX]); /* /etc/machine-id; "": there is none */
/* The namespace in which our pids count. 0: not known, also where /proc is that of another one, for then it says nothing of our pids. */
uint64_t procfs_pid_namespace(void);
/* Where pids, and the ticks at which processes started, mean what they mean to us: boot and namespaces, as one word. "": not known. */
void procfs_place(char ret_place[PROCFS_PLACE_MAX]);
bool procfs_is_stopped(pid_t pid);                            /* by a signal or a debugger; false: not, or not known */
void procfs_name(pid_t pid, char ret_name[PROCFS_TEXT_MAX]);  /* the command's, as `ps -o comm` shows it; "" */
/* The function of the kernel in which a thread waits; "" when it does not, or it is not told. */
void procfs_waits_in(pid_t pid, pid_t thread, char ret_name[PROCFS_TEXT_MAX]);

#endif
