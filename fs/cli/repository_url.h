/*
 * Repositories on the network (lib/repository/objects_open.h): what the environment says about who asks, as restic and the tools of AWS read it.
 *
 *   s3:     $AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_SESSION_TOKEN, else the section $AWS_PROFILE ("default") of
 *           $AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials); $AWS_REGION or $AWS_DEFAULT_REGION; $AWS_CA_BUNDLE
 *   rest:   $RESTIC_REST_USERNAME and $RESTIC_REST_PASSWORD
 *   both:   $RESTIC_CACERT
 *
 * It travels in a file in memory, never among arguments.
 */
#ifndef CORPUSFS_CLI_REPOSITORY_URL_H
#define CORPUSFS_CLI_REPOSITORY_URL_H

#include "lib/base/error.h"

/* A descriptor of the description, for operations. */
WARN_UNUSED int repository_url_open(const char *url, int *ret_fd, struct error *err);

#endif
