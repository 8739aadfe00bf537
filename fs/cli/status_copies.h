/* What `corpusfs status` prints of the copies of a store: its backups, what came back from them, its replicas. */
#ifndef CORPUSFS_CLI_STATUS_COPIES_H
#define CORPUSFS_CLI_STATUS_COPIES_H

#include <jansson.h>

void status_print_backups(const json_t *status); /* of store.status */
void status_print_replicas(const char *store);   /* how far they are */

#endif
