/* A line of progress on standard error, when that is a terminal, no longer than that is wide; redrawn in place and wiped at the end. */
#ifndef CORPUSFS_CLI_PROGRESS_H
#define CORPUSFS_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *title;
	bool terminal, drawn;
	uint64_t drawn_ms, started_ms;
};

struct progress progress_start(const char *title);
/* state: {phase, done, total, unit?}; with unit "bytes" the rate is shown too, and how long it will take. */
void progress_show(void *progress, json_t *state);
void progress_end(struct progress *progress);

#endif
