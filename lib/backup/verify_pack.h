/* Whether each blob of a pack is the one that it is named by, and stands where the index says. One thread. */
#ifndef CORPUSFS_BACKUP_VERIFY_PACK_H
#define CORPUSFS_BACKUP_VERIFY_PACK_H

#include "lib/repository/repository.h"

extern const char VERIFY_INDEX_IS_WRONG[]; /* the pack is good, and the index is to be made anew */

/* Of a pack whose bytes were read, all of them: what is wrong, or NULL. */
const char *verify_pack(struct repository_reader *reader, const struct blob_index *index, const struct blob_id *pack, const struct buf *bytes);

#endif
