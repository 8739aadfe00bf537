/*
 * Opening a store again that has lost its superblock, without which nothing of it can be opened: a copy is kept beside it, STORE/corpusfs.copy, and
 * takes its place. What was there instead stays as corpusfs.damaged. The copy is never read but for that.
 */
#ifndef CORPUSFS_STORE_MEND_SUPERBLOCK_H
#define CORPUSFS_STORE_MEND_SUPERBLOCK_H

#include "lib/store/mend.h"

/* Without `apply` it only looks. ret_mended->lost: what is damaged. -EBADMSG: so is the copy, or there is none; else errors as store_mend(). */
WARN_UNUSED int store_mend_superblock(const char *path, bool apply, struct store_mended *ret_mended, struct error *err);

#endif
