/*
 * How much content was dropped: bytes that views mapped and that nothing else sees, counted when they are overwritten, truncated or deleted.
 * That is about what a collection gives back. Other references may have the same chunks, and what is pruned with destroyed views is not
 * counted. The collector takes off what was there when it began. Any thread.
 */
#ifndef CORPUSFS_TREE_RECORDS_DROPPED_H
#define CORPUSFS_TREE_RECORDS_DROPPED_H

#include "lib/tree/records/view.h"

uint64_t dropped_bytes(struct tree *tree);
void dropped_add(struct tree *tree, uint64_t bytes);
void dropped_take(struct tree *tree, uint64_t bytes);

#endif
