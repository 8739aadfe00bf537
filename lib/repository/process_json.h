/*
 * A mark of a process (lib/base/process_mark.h) in a JSON object: "pid", "hostname" as restic has them in locks, and "started", "place", "machine", before
 * whose names may stand something. Any thread.
 */
#ifndef CORPUSFS_REPOSITORY_PROCESS_JSON_H
#define CORPUSFS_REPOSITORY_PROCESS_JSON_H

#include <jansson.h>

#include "lib/base/process_mark.h"

/* Of a process that runs where we do. */
void process_json_set(json_t *object, pid_t pid);
/* What became of the process; `before`: what stands before names. What the object has not, or has otherwise, is not known. */
enum process_state process_json_look(const json_t *object, const char *before);
/* Whether it is known to live. Where it is not known, it is not here: who asks has the store, or the store was moved. */
bool process_json_lives(const json_t *object);

#endif
