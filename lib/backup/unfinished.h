/*
 * A full or differential backup that was cut off is gone on with by the next one of its type: what it put stands in packs that no backup names, and
 * nothing but those may be relied on; nor does an incremental backup rely on them. The store keeps a mark for it, which index files of the
 * repository have, too.
 *
 *   unfinished_begin -> the packs with the mark are found when the index is loaded: unfinished_packs -> unfinished_end
 *
 * Two that are made at the same time share nothing: the second has no mark. Nor has one of a store that cannot be written to.
 *
 * All marks are one record of the catalogue ('J' "unfinished"): {"REPOSITORY/DATASET/TYPE": {"mark", "pid", "started": of the process that makes it,
 * while it is made}}. Any thread.
 */
#ifndef CORPUSFS_BACKUP_UNFINISHED_H
#define CORPUSFS_BACKUP_UNFINISHED_H

#include "lib/backup/backup_info.h"
#include "lib/store/store.h"

struct unfinished {
	char mark[INDEX_MARK_TEXT]; /* "": nobody goes on with this one */
	char key[BLOB_ID_TEXT + 32];
};

/* Takes the mark of the one that was cut off, or a new one. */
void unfinished_begin(struct unfinished *unfinished, struct store *store, const char *repository, uint32_t dataset, enum backup_type type);
/*
 * done: the next one begins anew. That is said before it becomes a backup; if it does not become one all the same, it is taken back. Where that cannot
 * be kept, or it became one and nobody heard of it, unfinished_packs tells.
 */
void unfinished_end(const struct unfinished *unfinished, struct store *store, bool done);

/*
 * The packs with the mark that are there, as long as the index says, and of no backup, sorted; the caller's to clear. None where it cannot be known of
 * which packs the backups are.
 */
WARN_UNUSED int unfinished_packs(const struct unfinished *unfinished, struct repository *repository, struct object_names *ret_packs,
				 struct error *err);

/*
 * All that the unfinished ones of the store have put, sorted, on which nobody else relies. One that is a backup by now, of which the store did not
 * hear, counts as unfinished: to look at all backups would cost more than to write something again.
 */
void unfinished_packs_of_all(struct store *store, const struct repository *repository, struct object_names *ret_packs);

#endif
