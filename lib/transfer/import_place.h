/*
 * Where a name of an archive leads in the dataset, as tar(1) has it when it extracts into the target: through directories that are there
 * or are made on the way, and through symbolic links that stay in the target. A link that this import made itself is only followed when it
 * leads down ("b/c"): tar makes others last of all.
 *
 * Names come in the archive's order, and each mostly begins as the one before: what is known of that one is used again.
 */
#ifndef CORPUSFS_TRANSFER_IMPORT_PLACE_H
#define CORPUSFS_TRANSFER_IMPORT_PLACE_H

#include "lib/transfer/import_parts.h"

struct places;
struct places *places_new(struct import *import, struct batch *batch); /* which is flushed where it holds what is asked for */
void places_free(struct places *places);

/* The directory of the plain path (archive_path.h), which a slash or the end follows. make: those that are missing are made. 0, or -errno and why. */
WARN_UNUSED int places_find(struct places *places, const char *path, size_t len, bool make, uint64_t *ret_ino, const char **ret_why);
/* What has the name in the directory now, all before it being added: as view_lookup. */
WARN_UNUSED int places_lookup(struct places *places, uint64_t dir, const char *name, struct attr *ret_attr);

#endif
