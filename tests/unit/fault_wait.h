/* Waiting until another thread of the test has come to a fault point, at which $CORPUSFS_FAULT has it rest. */
#ifndef CORPUSFS_TEST_FAULT_WAIT_H
#define CORPUSFS_TEST_FAULT_WAIT_H

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"

#define FAULT_WAIT_MS 20000

/* Nothing that a failed assertion jumps out of: the caller may be a child, or hold what the others wait for. */
static inline void fault_wait(const char *name)
{
	const uint64_t end = clock_ms() + FAULT_WAIT_MS;

	while (fault_passes(name) == 0) {
		if (clock_ms() > end) {
			fprintf(stderr, "nobody comes to %s\n", name);
			abort();
		}
		clock_pause_us(1000);
	}
}

#endif
