/* Bytes that come in stretches, looked at as one run (lib/chunk/wanted.h). Internal to lib/verify; one thread. */
#ifndef CORPUSFS_VERIFY_CONTENT_RUN_H
#define CORPUSFS_VERIFY_CONTENT_RUN_H

#include <stdint.h>

#include "lib/chunk/wanted.h"

struct content_run {
	struct wanted *wanted;
	uint8_t *window;
	size_t have;
};
void content_run_init(struct content_run *run, struct wanted *wanted);
void content_run_clear(struct content_run *run);

/* Negative, or what the found function says: the look has ended. */
WARN_UNUSED int content_run_add(struct content_run *run, const void *data, size_t len);
WARN_UNUSED int content_run_end(struct content_run *run); /* and the next one begins */
void content_run_drop(struct content_run *run); /* the run goes on to nothing: what is left of it is not looked at */

#endif
