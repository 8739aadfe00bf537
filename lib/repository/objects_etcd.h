/*
 * A store of objects whose heads stand in etcd: it decides which version of a dataset is the newest, whatever the place itself can do. All other
 * objects are the place's, and so are the heads that are not the newest: of each there is a copy under its name, as where there is no etcd.
 *
 *   corpusfs/REPOSITORY/heads/DATASET     the head of a dataset: its object's name (lib/backup/heads.h), a newline, its sealed bytes
 *   corpusfs/REPOSITORY/writers/DATASET   who is the writer of it, until his lease ends: a sealed note
 *   corpusfs/REPOSITORY/terms/DATASET     "NUMBER CHANCE": the last term that a writer was given; chance: digits at random
 *
 * Invariants:
 *   E1  A head becomes the newest by one transaction that compares the one before: the key must still have the value from which the number was
 *       counted on, or there is none: who puts a head has listed them before, and looks at the place once more where there is none. Whatever
 *       happens before, it is not published; whatever happens then, it is.
 *   E2  Its copy is put after that, so nobody reads a version that is not the head yet; and before the next one's transaction, by who makes that
 *       one: so no version is missing.
 *   E3  A mark in the place says that heads are in etcd, and in which one (etcd_mark.h). It is there before the first one is.
 *   E4  While there is a writer, he alone puts heads; and nobody does in a term that is over, however late what he has sent comes: the transaction also
 *       compares the term, or that there is no writer. Each time somebody becomes the writer, also the same one again, he is given a term that
 *       nobody had; and who gives it up, or takes it away from another one, ends the term by the next one, which nobody has. (tests/model/writers_etcd.pml)
 *
 * With stale_ok a member answers what it knows, and where none answers, the copies do.
 *
 * Errors: besides those of objects.h, -EBUSY: another one is the writer; -EREMOTEIO: etcd does not answer, and nothing of what was to be put will come;
 * -ETIMEDOUT: a head may be there, or may come; -EAGAIN: the place let nobody through, as S3 may when several put one object at once. Words for them
 * come by objects_failed.
 */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_ETCD_H
#define CORPUSFS_REPOSITORY_OBJECTS_ETCD_H

#include "lib/repository/etcd.h"
#include "lib/repository/objects.h"

/* In a listed name, in the place of the number: the newest head of the dataset, whose key is damaged. Who reads it gets -EBADMSG. */
#define OBJECTS_ETCD_DAMAGED "ffffffffffffffff"

/* Takes over the place, if it returns 0. Nothing is asked yet. */
WARN_UNUSED int objects_etcd_open(struct objects *place, const struct etcd_options *options, struct objects **ret_objects, struct error *err);

/* The place, where heads are in etcd, else NULL. */
struct objects *objects_etcd_place(struct objects *objects);
/* Whether etcd alone says which heads are the newest: they are there, and an older one is not good enough. */
bool objects_etcd_decides(struct objects *objects);
/*
 * For those that have it: the name of the newest head of the dataset of a head's name, by one question to etcd; what the head is comes with it. -ENOENT:
 * etcd knows of none. ret_name has BLOB_ID_TEXT bytes.
 */
WARN_UNUSED int objects_etcd_newest_name(struct objects *objects, const char *name, char *ret_name);

/* --- writers; for those that have it --- */

struct objects_etcd_writer {
	const struct buf *note; /* of who wants to be it */
	unsigned seconds;
	bool (*is_own)(void *arg, const struct buf *note); /* with NULL, every writer is */
	void *arg;
};
/* Who is the writer. */
struct objects_etcd_holder {
	struct buf note; /* empty: nobody is */
	uint64_t term;   /* the last there was; 0: none, or it is damaged */
	int64_t left_s;  /* until the lease ends; -1: it is not known */
};
/*
 * Becomes the writer of the dataset of a head's name, for so many seconds, each time it is asked; of 0 seconds, only looks who is. What is put afterwards
 * is put in its term. ret_other: another writer, after -EBUSY, or any, with 0 seconds.
 */
WARN_UNUSED int objects_etcd_become_writer(struct objects *objects, const char *name, const struct objects_etcd_writer *who, uint64_t *ret_term,
					   struct objects_etcd_holder *ret_other);
/* The lease is good for as long again. -ENOENT: it has ended. -EBUSY: the term is over. */
WARN_UNUSED int objects_etcd_stay_writer(struct objects *objects);
/* A term that was given, as its key has it. */
struct objects_etcd_term {
	uint64_t number; /* 0: none */
	struct buf value;
};
/* The one in which this puts heads. ret_term is the caller's. */
void objects_etcd_get_term(struct objects *objects, struct objects_etcd_term *ret_term);
/* Puts heads of the dataset in a term that was given to another one of the same process. -EBUSY: it is over. */
WARN_UNUSED int objects_etcd_join_term(struct objects *objects, const char *name, const struct objects_etcd_term *term);
void objects_etcd_set_patience(struct objects *objects, uint64_t ms); /* with etcd that does not answer */
/* From then on nobody is the writer: 1; nobody was: 0; -EBUSY: another one is, who is in ret_other. */
WARN_UNUSED int objects_etcd_end_writer(struct objects *objects, const char *name, const struct objects_etcd_writer *who,
					struct objects_etcd_holder *ret_other);
/* All writers there are. `name`: what the names of the dataset's heads begin with. */
typedef int (*objects_etcd_each_writer_fn)(void *arg, const char *name, const struct objects_etcd_holder *holder);
WARN_UNUSED int objects_etcd_list_writers(struct objects *objects, objects_etcd_each_writer_fn each, void *arg);
/* How etcd is; for those that have it. */
WARN_UNUSED int objects_etcd_look(struct objects *objects, struct etcd_state *ret_state, struct error *err);

#endif
