/*
 * Making the list of tables whole again: CURRENT, which names a manifest, and the manifest, from what is whole of itself and of its copy
 * (manifest_copy.h). Of two files that are the same bytes, one is taken as far as its edits are whole, then the other from there on.
 *
 * Nothing but the copy can stand for what is lost of a manifest. RocksDB has a repair that lists all table files that it finds, at level 0.
 * Tried with 7.8, it brings back what was deleted, where a table that had been merged away was not removed yet. It also moves the logs away.
 *
 * MM1. Only a manifest counts that was current last: its number is at least that in SYNCED and that of the copy. An older one names tables
 *      that are not there any more, and does not know those that are.
 * MM2. What is not known to be all of the list is said so.
 * MM3. A later one, which RocksDB may have begun only, is taken where the first lacks tables or logs, and only if it is all there: it names
 *      every table that the first names, or where that is not known, every table that there is.
 *
 * Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_MANIFEST_MEND_H
#define CORPUSFS_KV_MANIFEST_MEND_H

#include "lib/base/buf.h"
#include "lib/base/error.h"

struct manifest_mend {
	char *text; /* what is damaged and what stands for it, in one line; NULL: nothing is damaged */
	uint64_t number;
	bool replaces;    /* the manifest's file; else CURRENT alone */
	struct buf bytes; /* that the manifest is to have */
};

/* Changes nothing. `shown` as for kv_open. -EBADMSG: damaged, and there is nothing that could stand for it. Clear it in any case. */
WARN_UNUSED int manifest_mend_look(int dir, const char *shown, struct manifest_mend *ret_mend, struct error *err);
WARN_UNUSED int manifest_mend_apply(const char *path, const struct manifest_mend *mend);
void manifest_mend_clear(struct manifest_mend *mend);

#endif
