/*
 * A stream that is received builds its snapshot in a dataset that nobody sees: "@NAME" for dataset NAME, empty or a clone of the base. In one
 * instant, when all is right, what was built becomes a snapshot and the state of NAME.
 *
 *   receiving_claim -> receiving_begin -> changes of the head of receiving_name() -> snapshot_create of it -> receiving_finish -> receiving_drop
 *   -> receiving_release
 *
 * What is there of an unfinished one stays until it goes on, or receiving_drop. It goes with NAME when that is renamed or destroyed, which is
 * refused while it is claimed (-EBUSY). Threads: any; who changes what is hidden has claimed it.
 */
#ifndef CORPUSFS_STORE_RECEIVING_H
#define CORPUSFS_STORE_RECEIVING_H

#include "lib/store/replica.h"

/* -ENAMETOOLONG: the dataset's name has 255 bytes, and there is no room for one more. */
WARN_UNUSED int receiving_name(const char *dataset, char ret_name[NAME_LEN_MAX + 1], struct error *err);

#define RECEIVED_SNAPSHOT "received"

/* One receiver for a dataset at a time. -EBUSY. */
WARN_UNUSED int receiving_claim(struct store *store, const char *dataset, struct error *err);
void receiving_release(struct store *store, const char *dataset);
/* -EBUSY: somebody has claimed it. While change_lock is held, whoever claims it changes nothing. */
WARN_UNUSED int receiving_check_idle(struct store *store, const char *dataset, struct error *err);

/* base NULL: the dataset must not be there yet. Else it is a replica whose newest state is this snapshot of it. */
WARN_UNUSED int receiving_begin(struct store *store, const char *dataset, const char *base, int level, struct error *err);
/* The same without doing anything: 0, -EEXIST, -ENOENT, -EROFS (it is no replica), -EUCLEAN (both were written since the base). */
WARN_UNUSED int receiving_check(struct store *store, const char *dataset, const char *base, const char *snapshot, struct error *err);

/* What labels stand for. -ENOENT. They are as durable as what was written to the hidden dataset before them. */
WARN_UNUSED int receiving_put_label(struct store *store, uint32_t hidden, uint64_t label, uint64_t ino);
WARN_UNUSED int receiving_get_label(struct store *store, uint32_t hidden, uint64_t label, uint64_t *ret_ino);

struct received {
	const char *dataset, *base; /* base NULL: the dataset is new */
	const char *snapshot;       /* what it is called from then on; the hidden dataset has it as RECEIVED_SNAPSHOT */
	const char *note;
	struct timespec taken;
	const uint8_t *id;
};
/* One instant: the dataset is there, or is as the snapshot, and a replica. -ESTALE: what was built belongs to another dataset. */
WARN_UNUSED int receiving_finish(struct store *store, const struct received *received, struct error *err);

/* Removes what there is of an unfinished one. 1: there was something; 0: nothing. */
WARN_UNUSED int receiving_drop(struct store *store, const char *dataset, struct error *err);
/* The same where the name means nothing any more, or another dataset; unless somebody has claimed it, and sees to it himself. */
void receiving_forget(struct store *store, const char *dataset);

#endif
