/*
 * The writer of a published dataset, where heads are in etcd: one machine at a time, with a lease that ends some time after it has published last, and a
 * term, which grows each time somebody becomes the writer (lib/repository/objects_etcd.h). While there is a writer, nobody else publishes; and whoever was
 * it, and has paused for longer than his lease, cannot publish any more as soon as another has become it.
 *
 *   writer_become -> the dataset's heads are read, and one is put -> writer_end
 *   writer_release gives the lease up, whoever has it open
 *
 * While it is open, a thread renews the lease, until it is lost: etcd says so, or has not answered for as long as the lease. Time counts from before etcd
 * was asked, so it ends here before it does there.
 *
 * Threads: any, one at a time; `changed` is called by the thread.
 */
#ifndef CORPUSFS_BACKUP_WRITER_H
#define CORPUSFS_BACKUP_WRITER_H

#include "lib/repository/objects_etcd.h"
#include "lib/repository/repository.h"

#define WRITER_SECONDS_MIN 5
#define WRITER_SECONDS_MAX (30 * 24 * 60 * 60)

struct writer;

struct writer_options {
	struct repository *repository; /* stays open for longer */
	const char *dataset;
	const char *by;     /* who publishes it, as in a head */
	unsigned seconds;   /* the lease; 0: it is only looked whether somebody is the writer */
	void (*changed)(void *arg); /* one that is open was renewed, or is lost; NULL: nobody wants to know */
	void *arg;
};

/* -EBUSY: somebody is. -EOPNOTSUPP: heads are not in etcd. With 0 seconds, or where that is no error, ret_writer is NULL. */
WARN_UNUSED int writer_become(const struct writer_options *options, struct writer **ret_writer, struct error *err);
uint64_t writer_term(const struct writer *writer); /* 0: there is none */
/* Whether the lease is lost, also if nobody has noticed yet: then why, a text that lives as long as the writer; else NULL. */
const char *writer_lost(struct writer *writer);
/* Until when of clock_boot_ms it is had at least, if etcd does not answer any more; 0: it is lost. */
uint64_t writer_until_ms(struct writer *writer);
uint64_t writer_left_ms(struct writer *writer); /* the time until then */
/*
 * The right to publish in the term of one that is open: what is put in this repository afterwards is put in it. -EBUSY: it is over. It asks the place and
 * etcd, and needs the writer no more. ret_term is the caller's.
 */
void writer_copy_term(const struct writer *writer, struct objects_etcd_term *ret_term);
WARN_UNUSED int writer_join(struct repository *repository, const char *dataset, const struct objects_etcd_term *term, struct error *err);
void writer_drop(struct writer *writer); /* ends it without renewing the lease once more; NULL is fine */
void writer_end(struct writer *writer); /* it goes on being the writer, for as long as its lease. NULL is fine */

/*
 * Nobody is the writer from then on, and no term that was given is good any more: 1; nobody was: 0. -EBUSY: another one is, and it is not to be done by
 * force. Of the options, the seconds do not count.
 */
WARN_UNUSED int writer_release(const struct writer_options *options, bool force, struct error *err);

struct writer_info {
	char *dataset;          /* NULL: who wrote the note did not say, or it cannot be read; then all texts are NULL */
	char *by, *host, *user;
	int64_t since;          /* seconds of the clock of who it is */
	uint64_t term;
	int64_t left_s;         /* until the lease ends; -1: it is not known */
};
struct writer_infos {
	ARRAY_FIELDS(struct writer_info);
};
void writer_infos_clear(struct writer_infos *writers);
/* Those of all datasets; none where heads are not in etcd. */
WARN_UNUSED int writer_infos_read(struct repository *repository, struct writer_infos *ret_writers, struct error *err);

#endif
