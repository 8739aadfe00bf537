/*
 * K5 and K14 (check_rules.h): what extents and the index of equal content name is stored. Both are gathered first, so that each chunk's record
 * is read once, in the order in which they lie. Internal to lib/verify; one thread.
 */
#ifndef CORPUSFS_VERIFY_CHECK_CHUNKS_H
#define CORPUSFS_VERIFY_CHECK_CHUNKS_H

#include "lib/verify/check_family.h"

/* An extent that the view at this place sees. */
WARN_UNUSED int check_chunks_note(struct check_family *family, uint64_t ino, uint64_t offset, const struct extent_record *extent, uint64_t place);

/* After all families. `chunks`: what they have noted. */
WARN_UNUSED int check_chunks(struct store *store, struct check_report *report, struct spill *chunks);

#endif
