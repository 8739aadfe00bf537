/*
 * The writer of a published dataset, where heads are in etcd: one machine at a time, with a lease that ends some time after it has published last, and a
 * term, which grows each time somebody becomes the writer (lib/repository/objects_etcd.h). While there is a writer, nobody else publishes; and whoever was
 * it, and has paused for longer than his lease, cannot publish any more as soon as another has become it.
 *
 *   writer_become -> the dataset's heads are read, and one is put -> writer_end
 *
 * While it is open, a thread renews the lease. Threads: any, one at a time.
 */
#ifndef CORPUSFS_BACKUP_WRITER_H
#define CORPUSFS_BACKUP_WRITER_H

#include "lib/repository/repository.h"

#define WRITER_SECONDS_MIN 5
#define WRITER_SECONDS_MAX (30 * 24 * 60 * 60)

struct writer;

struct writer_options {
	struct repository *repository; /* stays open for longer */
	const char *dataset;
	const char *by;     /* who publishes it, as in a head */
	unsigned seconds;   /* the lease; 0: it is only looked whether somebody is the writer */
};

/* -EBUSY: somebody is. -EOPNOTSUPP: heads are not in etcd. With 0 seconds, or where that is no error, ret_writer is NULL. */
WARN_UNUSED int writer_become(const struct writer_options *options, struct writer **ret_writer, struct error *err);
uint64_t writer_term(const struct writer *writer); /* 0: there is none */
void writer_end(struct writer *writer); /* it goes on being the writer, for as long as its lease. NULL is fine */

#endif
