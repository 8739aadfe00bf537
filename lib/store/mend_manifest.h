/*
 * Opening a store again whose database has lost its list of tables, the files CURRENT and MANIFEST: it is made whole from what is left of it
 * and from the copy that the database keeps of it. The database as it was is kept, as for a damaged log (lib/store/mend.h).
 */
#ifndef CORPUSFS_STORE_MEND_MANIFEST_H
#define CORPUSFS_STORE_MEND_MANIFEST_H

#include "lib/store/mend.h"

/* Without `apply` it only looks. ret_mended->lost: what is damaged, and what stands for it. Errors as store_mend(). */
WARN_UNUSED int store_mend_manifest(const char *path, bool apply, struct store_mended *ret_mended, struct error *err);

#endif
