/*
 * How many bytes of content a backup has, found out beside its restoring by a thread that reads its directories, so that progress has an end.
 *
 *   restore_total_begin -> restore_total_end
 */
#ifndef CORPUSFS_BACKUP_RESTORE_TOTAL_H
#define CORPUSFS_BACKUP_RESTORE_TOTAL_H

#include "lib/backup/restore_source.h"

struct restore_total;

/* The options, without keep_going and only_walks, and what they point to must stay. ret_bytes is set when it is known. */
struct restore_total *restore_total_begin(const struct restore_source_options *options, atomic_uint_fast64_t *ret_bytes);
void restore_total_end(struct restore_total *total); /* also before it is known; NULL is fine */

#endif
