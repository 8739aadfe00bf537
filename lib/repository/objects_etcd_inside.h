/* What the files of objects_etcd.h share. Not for others. They stand in this order: objects_etcd_writer, objects_etcd_put, objects_etcd. */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_ETCD_INSIDE_H
#define CORPUSFS_REPOSITORY_OBJECTS_ETCD_INSIDE_H

#include <pthread.h>

#include <uthash.h>

#include "lib/base/array.h"
#include "lib/repository/etcd_mark.h"
#include "lib/repository/objects_etcd.h"

#define DATASET_LEN 48 /* of a head's name; what follows is its number */
#define NAME_LEN (BLOB_ID_TEXT - 1)
#define NUMBER_MAX "4000000000000000" /* of heads (lib/backup/heads.h) */

struct known {
	char name[BLOB_ID_TEXT];
	struct buf sealed;
	bool is_listed; /* as the newest of its dataset */
	UT_hash_handle hh;
};

struct objects_etcd {
	struct objects objects; /* first */
	struct objects *place;
	bool stale_ok;
	pthread_mutex_t lock; /* one question to etcd at a time; guards what follows */
	struct etcd *etcd;
	struct etcd_mark mark;
	struct known *known; /* by name, heads that etcd has told of: what a name stands for never changes, and each stays where it is */
	struct { /* this one is the writer of a dataset, or was it */
		char dataset[DATASET_LEN + 1]; /* "": of none */
		uint64_t number;
		struct buf term; /* as its key has it */
		char lease[ETCD_LEASE_TEXT];
	} writer;
	struct error why; /* of the last failure */
};

/* What must be so when a head is put: that the term is not over, or that there is no writer. */
struct objects_etcd_right {
	bool has_term;
	char *key; /* owned */
	struct etcd_condition condition;
};
void objects_etcd_may_write(const struct objects_etcd *own, const char *name, struct objects_etcd_right *ret_right);
int objects_etcd_not_writer(struct objects_etcd *own, const struct objects_etcd_right *right); /* it was not so: -EBUSY */

/* Of a head's name; "" gives what the keys of all heads begin with. */
char *objects_etcd_key(const struct objects_etcd *own, const char *name);
struct known *objects_etcd_known(const struct objects_etcd *own, const char *name); /* NULL: it is not */
/* Takes apart what a key has. NULL: it is damaged. */
struct known *objects_etcd_remember(struct objects_etcd *own, const struct buf *value);
void objects_etcd_forget(struct objects_etcd *own); /* all that is known */
int objects_etcd_damaged(struct objects_etcd *own, const char *key);
/* The newest head of the dataset of a head's name, and what its key has. -ENOENT: none is there. */
WARN_UNUSED int objects_etcd_newest(struct objects_etcd *own, const char *name, const struct known **ret_newest, struct buf *ret_value);
/* Puts a head, while the lock is held. */
WARN_UNUSED int objects_etcd_put_head(struct objects_etcd *own, const char *name, const void *data, size_t len);

#endif
