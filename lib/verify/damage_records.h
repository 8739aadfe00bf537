/*
 * The names that stand for inodes of which damaged tables have lost records, in the views that see them. Internal to lib/verify.
 */
#ifndef CORPUSFS_VERIFY_DAMAGE_RECORDS_H
#define CORPUSFS_VERIFY_DAMAGE_RECORDS_H

#include "lib/verify/lost_records.h"

struct damage_name {
	const char *dataset, *snapshot, *path; /* path "": the root; "?/NAME": where the directory is cannot be told */
};

/* Names in a view, and the root. `limit`: after so many it says so in *ret_all. Stops when the callback returns not 0, and returns that. */
WARN_UNUSED int damage_names_find(struct store *store, const struct lost_records *lost, size_t limit,
				  int (*each)(void *arg, const struct damage_name *name), void *arg, bool *ret_all);

#endif
