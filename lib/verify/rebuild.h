/*
 * What can be derived again after tables were mended (lib/store/mend_tables.h), in a database that is open and in nobody else's hands.
 *
 *   the catalogue      RB1  No number is given out twice: the counters and the families' records lie above all that is stored.
 *                      RB2  A head whose record is older than it was would write into epochs that snapshots have. So every head gets a new
 *                           epoch.
 *                      RB3  What no view sees is not lost: where versions are stored of epochs that are in no line, or snapshots whose
 *                           dataset is gone, a dataset recovered-NUMBER sees them, over the newest of its snapshots, else over all other
 *                           views of the family.
 *   the touched index  RB4  Each stored version has its entry (I7), else differences, backups and pruning would pass it.
 *
 * The index of equal content is not made anew: what it has lost is stored once more when it comes again. Names and links of heads are mended
 * when the store can be opened again (mend_heads.h).
 */
#ifndef CORPUSFS_VERIFY_REBUILD_H
#define CORPUSFS_VERIFY_REBUILD_H

#include "lib/base/array.h"
#include "lib/format/key.h"
#include "lib/kv/kv.h"

struct rebuilt {
	ARRAY(char *) datasets; /* made: their names, owned */
};

/* `damaged`: of these families tables were mended. Nothing is changed unless all of it is, but for the touched index, which only grows. */
WARN_UNUSED int rebuild(struct kv *kv, const bool damaged[KV_FAMILY_COUNT], struct rebuilt *rebuilt);
void rebuilt_clear(struct rebuilt *rebuilt);

#endif
