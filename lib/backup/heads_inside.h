/* What the files of heads.h share. Not for others. They stand in this order: heads, heads_put. */
#ifndef CORPUSFS_BACKUP_HEADS_INSIDE_H
#define CORPUSFS_BACKUP_HEADS_INSIDE_H

#include "lib/backup/heads.h"

/* The object's name, of the dataset and the number. */
void head_set_object(const struct repository *repository, struct head *head);

#endif
