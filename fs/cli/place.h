/*
 * How commands name what is in a store. There is one way for all of them; a place is
 *
 *   DATASET[@NAME][/PATH]   in the store that is named, or that of the mount the current directory stands in
 *   a path in a mount       absolute, or beginning with ./ or ../: also of what is deleted, and below DATASET/.snapshots/NAME
 *   a relative path         in the mount that the current directory stands in, if there is no dataset of that name
 *
 * With -s a store is named, and then only the first two are looked for.
 */
#ifndef CORPUSFS_CLI_PLACE_H
#define CORPUSFS_CLI_PLACE_H

#include "fs/cli/command.h"

/* What a command takes; without any: a dataset and nothing more. */
#define PLACE_MAY_SNAPSHOT 1U
#define PLACE_MUST_SNAPSHOT 2U
#define PLACE_MAY_PATH 4U
#define PLACE_MUST_PATH 8U
#define PLACE_MAY_BE_NEW 16U /* the dataset need not be there: a word is the name of one, whatever is in the current directory */

struct place {
	char *dataset;
	char *snapshot; /* NULL: the dataset as it is now */
	char *path;     /* clean; "" for all of it */
};
void place_clear(struct place *place);
#define AUTO_PLACE CLEANUP(place_clear) struct place

/*
 * Finds the place, and puts the store that a path tells into cli->store if none is there yet. -EINVAL: it is not what the command takes, or
 * in another store than what was named before.
 */
WARN_UNUSED int place_find(struct cli *cli, const char *text, unsigned takes, struct place *ret_place, struct error *err);

/*
 * The path of option --path: relative to the dataset, or a path in a mount, which must be of the same dataset as `place`. It becomes the
 * path of the place, which must not have another one. `text` NULL: nothing changes.
 */
WARN_UNUSED int place_add_path(struct cli *cli, struct place *place, const char *text, struct error *err);

char *place_view(const struct place *place); /* "DATASET" or "DATASET@NAME"; freed by the caller */

#endif
