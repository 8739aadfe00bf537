/* Whether the chunks that the index names hold what a group brings. See hits.c. Not for other layers. */
#ifndef CORPUSFS_CHUNK_HITS_H
#define CORPUSFS_CHUNK_HITS_H

#include "lib/chunk/chunks_group.h"

/* Reads what the items were found to be, in parallel, and marks those that are not (item.unsound). The group's hits are settled. */
void hits_verify(struct chunks_group *group);

#endif
