/* Which datasets and snapshots the changes are of that a damaged log has lost. Internal to lib/store. */
#ifndef CORPUSFS_STORE_MEND_LOST_H
#define CORPUSFS_STORE_MEND_LOST_H

#include "lib/base/buf.h"

/* Adds "; changed were ..." to the text, as far as that can be told. Nobody has the store open. `store` and `db` are paths. */
void mend_lost_tell(const char *store, const char *db, struct buf *text);

#endif
