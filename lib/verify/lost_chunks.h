/* Which chunks a damaged table of content may have lost. */
#ifndef CORPUSFS_VERIFY_LOST_CHUNKS_H
#define CORPUSFS_VERIFY_LOST_CHUNKS_H

#include "lib/format/record.h"
#include "lib/kv/kv.h"

/* Adds their ids, of which most may be whole or never have been; nothing of other tables. */
void lost_chunks_add(struct line *chunks, const struct kv_damaged_table *table);

#endif
