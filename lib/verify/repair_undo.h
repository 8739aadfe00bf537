/* The file that undoes the healing of content (repair_heal.h has its format). Internal to lib/verify. */
#ifndef CORPUSFS_VERIFY_REPAIR_UNDO_H
#define CORPUSFS_VERIFY_REPAIR_UNDO_H

#include "lib/chunk/heal.h"
#include "lib/store/store.h"

/* Adds lines to the file of that name in the store's directory, or makes one if the name is "". On disk when it returns 0. */
WARN_UNUSED int repair_undo_write(struct store *store, char *name, const struct heal_before *befores, size_t count, struct error *err);

#endif
