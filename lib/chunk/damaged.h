/* The chunks that were found missing or damaged since the store was opened. Nothing new may refer to them. Any thread. */
#ifndef CORPUSFS_CHUNK_DAMAGED_H
#define CORPUSFS_CHUNK_DAMAGED_H

#include <stdbool.h>
#include <stdint.h>

struct damaged;

struct damaged *damaged_new(void);
void damaged_free(struct damaged *damaged); /* NULL is fine */
void damaged_add(struct damaged *damaged, uint64_t id);
bool damaged_has(struct damaged *damaged, uint64_t id);

#endif
