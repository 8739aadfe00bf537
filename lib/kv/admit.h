/* What examine_database() has found, said to people, and whether the database may be opened all the same. Internal to lib/kv. */
#ifndef CORPUSFS_KV_ADMIT_H
#define CORPUSFS_KV_ADMIT_H

#include <stdbool.h>

#include "lib/base/error.h"
#include "lib/kv/kv.h"

/*
 * 0: there is none, or it is accepted: then *ret_lost is a line about it (freed by the caller; NULL: none), and *ret_tables says whether
 * table files are among it. -EBADMSG: it is not accepted; others: the files cannot be read.
 */
WARN_UNUSED int admit_database(const char *path, const char *shown, unsigned accept, char **ret_lost, bool *ret_tables, struct error *err);

#endif
