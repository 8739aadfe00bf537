/*
 * Repositories on the network (lib/repository/objects_open.h): what the environment says about who asks, as restic and the tools of AWS read it.
 *
 *   s3:     $AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_SESSION_TOKEN, else the section $AWS_PROFILE ("default") of
 *           $AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials), else what a service gives (lib/repository/s3_keys.h): that for containers at
 *           $AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI, with what $AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE has, else the
 *           metadata service of the instance, at $AWS_EC2_METADATA_SERVICE_ENDPOINT, unless $AWS_EC2_METADATA_DISABLED is "true";
 *           $AWS_REGION or $AWS_DEFAULT_REGION; $AWS_CA_BUNDLE
 *   rest:   $RESTIC_REST_USERNAME and $RESTIC_REST_PASSWORD
 *   both:   $RESTIC_CACERT
 *
 * A remote (remotes.h) may name a file of its own, or a command that prints what stands in such a file: lines KEY = VALUE, either under [PROFILE]
 * or under nothing, where KEY is one that AWS's files have, or "user" and "password".
 *
 * It travels in a file in memory, never among arguments.
 */
#ifndef CORPUSFS_CLI_REPOSITORY_URL_H
#define CORPUSFS_CLI_REPOSITORY_URL_H

#include <jansson.h>

#include "lib/base/error.h"

/* A descriptor of the description, for operations. `remote`: whose URL it is; NULL: of none. */
WARN_UNUSED int repository_url_open(const char *url, const json_t *remote, int *ret_fd, struct error *err);

#endif
