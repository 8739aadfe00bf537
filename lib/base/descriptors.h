/* How many files a process may have open. Any thread. */
#ifndef CORPUSFS_BASE_DESCRIPTORS_H
#define CORPUSFS_BASE_DESCRIPTORS_H

#include <stdint.h>

/*
 * Raises the limit as far as it may be, and returns it; UINT64_MAX: none is known. The usual soft limit of 1,024 is for select(2), which
 * nobody here calls.
 */
uint64_t descriptors_raise(void);

#endif
