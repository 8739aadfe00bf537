/*
 * Giving up what a damaged log has lost, so that the rest can be written again. A copy of the database as it was is made first.
 *
 *   kv_mend_look -> kv_mend_keep -> kv_mend_log -> kv_open
 *
 * Whoever calls this holds off everybody else who could open the database.
 */
#ifndef CORPUSFS_KV_MEND_H
#define CORPUSFS_KV_MEND_H

#include "lib/base/error.h"

/* *ret_lost: what is lost, in one line, freed by the caller; NULL: no log is damaged. -EBADMSG: something else is. Paths as for kv_open. */
WARN_UNUSED int kv_mend_look(const char *path, const char *shown, char **ret_lost, struct error *err);

/* Makes the directory `copy`, a database that can take the place of this one. It shares the table files, which never change. Durable. */
WARN_UNUSED int kv_mend_keep(const char *path, const char *copy);

/* The next opening takes the log as far as it goes. */
WARN_UNUSED int kv_mend_log(const char *path);

#endif
