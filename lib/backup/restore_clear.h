/* Before a restore over a dataset: what the backup has not, or has as something else, is removed. One thread. */
#ifndef CORPUSFS_BACKUP_RESTORE_CLEAR_H
#define CORPUSFS_BACKUP_RESTORE_CLEAR_H

#include "lib/repository/node.h"
#include "lib/repository/repository.h"
#include "lib/store/store.h"

/* `top`: the node of the directory that the dataset's root becomes. */
WARN_UNUSED int restore_clear(struct store *store, const char *dataset, struct repository *repository, const struct node *top, struct error *err);

#endif
