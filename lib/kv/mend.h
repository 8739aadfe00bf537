/*
 * Mending a database that cannot be opened: its list of tables is made whole again, what a damaged log has lost is given up. A copy of the
 * database as it was is made first.
 *
 *   kv_mend_manifest -> kv_mend_keep -> kv_mend_manifest, to apply it
 *   kv_mend_look -> kv_mend_keep -> kv_mend_log -> kv_open
 *
 * Whoever calls this holds off everybody else who could open the database.
 */
#ifndef CORPUSFS_KV_MEND_H
#define CORPUSFS_KV_MEND_H

#include <stdbool.h>

#include "lib/base/error.h"

/*
 * The manifest and CURRENT. *ret_text: what is damaged and what stands for it, in one line, freed by the caller; NULL: they are not damaged.
 * -EBADMSG: nothing stands for it. Without `apply` nothing is changed.
 */
WARN_UNUSED int kv_mend_manifest(const char *path, const char *shown, bool apply, char **ret_text, struct error *err);

/* *ret_lost: what is lost, in one line, freed by the caller; NULL: no log is damaged. -EBADMSG: something else is. Paths as for kv_open. */
bool kv_mend_is_unsure(const char *path); /* what tells how much of the log was on disk is lost, and no change is known to be */
WARN_UNUSED int kv_mend_look(const char *path, const char *shown, char **ret_lost, struct error *err);

/* Makes the directory `copy`, a database that can take the place of this one. It shares the table files, which never change. Durable. */
WARN_UNUSED int kv_mend_keep(const char *path, const char *copy);

/* The next opening takes the log as far as it goes. */
WARN_UNUSED int kv_mend_log(const char *path);

#endif
