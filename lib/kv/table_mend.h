/*
 * A table of a damaged one's whole blocks. It has the same length, and its blocks lie where they lay, with the same records of the same
 * age; only what leads to them is made anew, without the blocks that are not whole. So it can take the damaged one's place, and the
 * manifest, which says between which keys the table lies and how long it is, stays true.
 *
 * A table may not be empty. If nothing is left, a mark of removal, older than everything, stands under the table's first key.
 *
 * Internal to lib/kv; one thread.
 */
#ifndef CORPUSFS_KV_TABLE_MEND_H
#define CORPUSFS_KV_TABLE_MEND_H

#include "lib/kv/table_look.h"

/*
 * Writes it to `to`, an empty file, and syncs it. `from`: the damaged one; -1: it is missing. `first`: the first key that the manifest
 * has for it. *ret_named: it says who made it. -EFBIG: it does not fit; -EIO, -ENOSPC.
 */
WARN_UNUSED int table_mend(const struct table_look *look, int from, int to, const struct buf *first, bool *ret_named);

#endif
