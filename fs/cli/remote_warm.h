/* Fetches files into the cache of the mount that they lie in, or will lie in, before somebody reads them. */
#ifndef CORPUSFS_CLI_REMOTE_WARM_H
#define CORPUSFS_CLI_REMOTE_WARM_H

#include "fs/cli/command.h"

#define OPTIONS_REMOTE_WARM                                                                \
	{'o', NULL, "OPTIONS", "of REMOTE:DATASET: as of the mount, cache=DIRECTORY,cache_size=SIZE"}, \
	{0, "follow-order", "FILE", "of a remote: the files it lists, ahead of who reads"}, \
	{0, "ahead", "SIZE", "how far (default 1G, or half of the cache)"}

/* All at or below the path or, with --follow-order, what is listed, relative to it. Returns the exit code. */
int remote_warm(struct cli *cli, const char *path);
/* The same of what the operand says of a remote, REMOTE:DATASET[@NAME][/PATH], into the cache that a later mount will use. */
int remote_warm_unmounted(struct cli *cli);

#endif
