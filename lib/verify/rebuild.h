/*
 * What can be derived again after tables were mended (lib/store/mend_tables.h), in a database that is open and in nobody else's hands.
 *
 *   the catalogue      RB1  No number is given out twice: the counters and the families' records lie above all that is stored.
 *                      RB2  A head whose record is older than it was would write into epochs that snapshots have. So every head gets a new
 *                           epoch.
 *                      RB3  What no view sees is not lost: where versions are stored of epochs that are in no line, or snapshots whose
 *                           dataset is gone, a dataset recovered-NUMBER sees them, over the newest of its snapshots, else over all other
 *                           views of the family. What waits to be pruned comes back so, too, if no view has its epochs.
 *   the touched index  RB4  Each stored version has its entry (I7), else differences, backups and pruning would pass it.
 *   the damage list    RB5  What something names of lost content is in the list: `damage` tells of it at once, and good bytes that come in
 *                           heal it.
 *   the index of       RB6  Each stored chunk that can be read has its entry, else the same content would be stored once more, and what is
 *   equal content           found damaged later could not be looked for. All content is read once for that.
 *   the collector      RB7  The list of damaged chunks may have lost which chunks stand for damaged ones: none is removed until a scrub has found
 *                           all that is needed whole (lib/store/gc_hold.h).
 *
 * Names and links of heads are mended when the store can be opened again (mend_heads.h).
 */
#ifndef CORPUSFS_VERIFY_REBUILD_H
#define CORPUSFS_VERIFY_REBUILD_H

#include "lib/base/array.h"
#include "lib/format/key.h"
#include "lib/format/record.h"
#include "lib/kv/kv.h"

struct rebuilt {
	ARRAY(char *) datasets; /* made: their names, owned */
	bool content_lost;      /* that something names, and for which nothing stands */
};

/* Of which tables were mended. */
struct rebuild_of {
	bool damaged[KV_FAMILY_COUNT];
	struct line chunks; /* intervals of ids, not of epochs: what the damaged tables of content have lost is among them */
};

/* Nothing is changed unless all of it is, but for what only grows: the touched index, the damage list, the index of equal content. */
WARN_UNUSED int rebuild(struct kv *kv, const struct rebuild_of *of, struct rebuilt *rebuilt);
void rebuilt_clear(struct rebuilt *rebuilt);

#endif
