/*
 * What is in a remote and not mounted, with the cache of a mount to come: opened by this process.
 *
 *   warm_remote_of -> warm_remote_open -> `place` is used -> warm_remote_close
 */
#ifndef CORPUSFS_CLI_WARM_REMOTE_H
#define CORPUSFS_CLI_WARM_REMOTE_H

#include "fs/cli/remote_options.h"
#include "fs/cli/warm_place.h"

#define OPTION_REMOTE_CACHE                                                                        \
	{                                                                                          \
		'o', NULL, "OPTIONS", "of REMOTE:DATASET: as of the mount, cache=DIRECTORY,cache_size=SIZE" \
	}

struct warm_remote {
	char *dataset; /* owned: the operand without its path */
	struct remote_options options;
	struct browsing browsing;
	struct warm_place place;
};

struct warm_remote warm_remote_of(const char *operand); /* REMOTE:DATASET[@NAME][/PATH], which must stay */
/* Options as of a mount. -EINVAL: no cache is named, or no dataset; -EBUSY: somebody uses the cache; -ENOENT. */
WARN_UNUSED int warm_remote_open(struct cli *cli, struct warm_remote *remote, struct error *err);
void warm_remote_close(struct warm_remote *remote); /* also what is half open */

#endif
