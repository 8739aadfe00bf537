/*
 * Where records were removed. A table file keeps a removed record until it is merged, and whoever reads past the database still finds it
 * there. So what is read like that, and has to stay, is asked of the database wherever this says that it may have been removed.
 *
 * It knows each removal of this process, from before the batch is written, and the tables that had removals when the store was opened; ids
 * are rounded to blocks of 1024. A table of removals may span many chunks that live: asking costs time, and is never wrong.
 *
 * Any thread; a leaf among the locks.
 */
#ifndef CORPUSFS_CHUNK_REMOVED_H
#define CORPUSFS_CHUNK_REMOVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/kv/kv.h"

struct removed;

struct removed *removed_new(struct kv *kv); /* before anything is removed */
void removed_free(struct removed *removed); /* NULL is fine */

void removed_note(struct removed *removed, uint64_t first, uint64_t last);                /* [first, last], of one kind */
bool removed_may_have(struct removed *removed, uint64_t first, size_t count); /* false: none of [first, first + count) was removed */

#endif
