/*
 * Bytes to be read again later: in memory while they are few, then in a file without a name, which the system removes by itself.
 * One thread at a time. Errors: -errno of the file.
 */
#ifndef CORPUSFS_TRANSFER_SPOOL_H
#define CORPUSFS_TRANSFER_SPOOL_H

#include <stddef.h>

#include "lib/base/clean.h"

struct spool;

struct spool *spool_new(void);
void spool_free(struct spool *spool); /* NULL is fine */
WARN_UNUSED int spool_add(struct spool *spool, const void *data, size_t len);
/* Everything that was added, in order; ends with what `each` returns if that is not 0. */
WARN_UNUSED int spool_read(struct spool *spool, int (*each)(void *arg, const void *data, size_t len), void *arg);

#endif
