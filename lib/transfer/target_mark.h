/*
 * A mark on the target directory of an export that is not complete: who runs the same export again goes on with it. It is an extended
 * attribute, or, where the target takes none, a file. A directory with anything in it but without the mark is nobody's to write to.
 *
 * With the user's rights. One thread.
 */
#ifndef CORPUSFS_TRANSFER_TARGET_MARK_H
#define CORPUSFS_TRANSFER_TARGET_MARK_H

#include "lib/transfer/export_parts.h"

/*
 * Marks the directory. *ret_goes_on: it had the mark of the same export. -ENOTEMPTY: it is not empty, and has no mark or another one's.
 * -EBUSY: another export or a restore writes to it.
 */
WARN_UNUSED int target_mark_begin(struct export *export, int fd, bool *ret_goes_on, struct error *err);
void target_mark_end(struct export *export, int fd); /* the export is complete */
bool target_mark_is_name(const char *name);          /* the mark's file in the top directory */

#endif
