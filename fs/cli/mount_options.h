/* The text after -o of `corpusfs mount`. */
#ifndef CORPUSFS_CLI_MOUNT_OPTIONS_H
#define CORPUSFS_CLI_MOUNT_OPTIONS_H

#include <jansson.h>

#include "lib/store/store.h"

#define MOUNT_TIMEOUT "timeout" /* seconds; of remotes */

/*
 * Sets in `args` what mount.start takes (fs/daemon/process/mounts.h) and in `store_options` what belongs to the daemon.
 * -EINVAL with a text that names the option. May be called several times.
 */
WARN_UNUSED int mount_options_parse(const char *text, json_t *args, struct store_options *store_options, struct error *err);

#endif
