/*
 * The next full or differential backup goes on with one of its type that was cut off. What that one put stands in packs that no backup names. It is all
 * that the next one relies on beside its base, and nobody else relies on it. The store keeps a mark for it, which the index files of these packs have.
 *
 *   unfinished_begin -> the packs with the mark are found when the index is loaded: unfinished_packs -> unfinished_end
 *
 * Two that are made at the same time share nothing: the second has no mark. Nor has one of a store that cannot be written to.
 *
 * All marks are one record of the catalogue ('J' "unfinished"): {"REPOSITORY/DATASET/TYPE": {"mark"; while it is made, of the process that makes it,
 * what process_json.h has}}. Any thread.
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
 * done: it is a backup, and the next one begins anew. Who is killed after it became one, and before this, loses nothing: unfinished_packs finds that
 * the packs are a backup's.
 */
void unfinished_end(const struct unfinished *unfinished, struct store *store, bool done);

/*
 * The packs with the mark, sorted, that are there, as long as the index says, and that no backup wrote; the caller's to clear. None where a backup
 * cannot be read.
 */
WARN_UNUSED int unfinished_packs(const struct unfinished *unfinished, struct repository *repository, struct object_names *ret_packs,
				 struct error *err);

/*
 * All packs that the unfinished backups of the store have put, sorted. One that became a backup before the store noted it counts, too: to look at all
 * backups would cost more than to write something again.
 */
void unfinished_packs_of_all(struct store *store, const struct repository *repository, struct object_names *ret_packs);

#endif
