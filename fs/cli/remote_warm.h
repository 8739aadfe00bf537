/* Fetches files into the cache of the mount that they lie in, or will lie in, before somebody reads them. */
#ifndef CORPUSFS_CLI_REMOTE_WARM_H
#define CORPUSFS_CLI_REMOTE_WARM_H

#include "fs/cli/command.h"
#include "fs/cli/warm_remote.h"

#define OPTIONS_REMOTE_WARM                                                                \
	OPTION_REMOTE_CACHE,                                                               \
	{0, "pin", NULL, "of a remote: it stays in the cache until corpusfs unpin"},        \
	{0, "follow-order", "FILE", "of a remote: the files it lists, ahead of who reads"}, \
	{0, "ahead", "SIZE", "how far (default 1G, or half of the cache)"}

/* All at or below the path or, with --follow-order, what is listed, relative to it. Returns the exit code. */
int remote_warm(struct cli *cli, const char *path);
/* The same of what the operand says of a remote, REMOTE:DATASET[@NAME][/PATH], into the cache that a later mount will use. */
int remote_warm_unmounted(struct cli *cli);

#endif
