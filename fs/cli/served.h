/*
 * Whose a mount is. A mount says by which path its store was mounted, and nobody tells it when that is moved: another store may lie there by now, and
 * its daemon would answer for files that it does not have.
 */
#ifndef CORPUSFS_CLI_SERVED_H
#define CORPUSFS_CLI_SERVED_H

#include "lib/base/error.h"

/*
 * `store` was found by the absolute path, which lies in a mount. -ESTALE: what is mounted there is of another store; -ETIMEDOUT and what else
 * client_connect gives. Nothing can be told of a mount whose daemon has died or is leaving, nor by who may not talk to the one there: 0.
 */
WARN_UNUSED int served_check(const char *store, const char *path, struct error *err);

/* Of a daemon that does not answer: what lets it go on, or ends it. */
void served_hint_silent(const char *store, const char *mountpoint, struct error *err);

#endif
