/* Mounting a dataset as the writer of what it is published as: -o lease=REMOTE[:NAME]. */
#ifndef CORPUSFS_CLI_MOUNT_LEASE_H
#define CORPUSFS_CLI_MOUNT_LEASE_H

#include <jansson.h>

#include "fs/cli/command.h"
#include "lib/base/error.h"

struct mount_lease {
	char *place;    /* "REMOTE:"; NULL: it is mounted without a lease */
	char *as;       /* what the dataset is called there */
	char *password;
	int fd;         /* of the repository, as operations take it */
	json_int_t seconds;
};
#define MOUNT_LEASE_NONE {.fd = -1}
void mount_lease_clear(struct mount_lease *lease);

/* Of what mount.start is given: whether a lease makes sense, and how the place is opened, before anything is mounted. */
WARN_UNUSED int mount_lease_prepare(struct cli *cli, json_t *args, struct mount_lease *ret_lease, struct error *err);
/* After it was mounted, read-only so far. On failure it is unmounted again. */
WARN_UNUSED int mount_lease_take(const struct mount_lease *lease, const char *store, const json_t *args, struct error *err);

/* For `corpusfs status`. */
void mount_lease_print(const json_t *status);

#endif
