/* What store.status says of backups by the clock. Internal to lib/ops. */
#ifndef CORPUSFS_OPS_OP_BACKUPS_H
#define CORPUSFS_OPS_OP_BACKUPS_H

#include <jansson.h>

#include "lib/store/store.h"

/* [{dataset, kind, every, repository, late: somebody should look, time?, tried?, failure?, seconds?, running?: when the one
 * was begun that is being made, interrupted?: when the one was begun that did not end}], one for each kind that is planned. */
json_t *op_backup_status(struct store *store);

/* [{repository, tried, failure: text or null, time?: of the last that went well, seconds?: how long that took}]: of drills where none is planned. */
json_t *op_backup_drills(struct store *store);

#endif
