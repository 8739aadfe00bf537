/*
 * How much memory there is for this process, and what of it a budget may be: of a machine, a container or a service with little, budgets take
 * little without anybody saying so. Any thread.
 */
#ifndef CORPUSFS_BASE_MEMORY_LIMIT_H
#define CORPUSFS_BASE_MEMORY_LIMIT_H

#include <stdint.h>

/* The least of what the machine has and what limits this process: control groups, setrlimit(2). */
uint64_t memory_limit(void);
/* What control groups allow: `groups` is as /proc/self/cgroup says it, `root` where they are mounted. UINT64_MAX: whatever there is. */
uint64_t memory_limit_of_groups(const char *groups, const char *root);

/* `usual`, or a sixteenth of the memory there is, where that is less; `least` in any case. */
uint64_t memory_budget(uint64_t usual, uint64_t least);

#endif
