/*
 * What the store knows of its datasets, snapshots and open views, in memory. Internal to lib/store.
 *
 * The catalog column family is the truth; it is read once by catalog_load(). A change is made in this order: under change_lock, build
 * one batch, write it synced, then bring the memory in line under catalog_lock. So memory never shows what is not on disk, and a failed
 * write needs no way back.
 *
 * Locks: change_lock, the views' locks through lib/tree, catalog_lock (lib/base/lock_order.h). So nothing of lib/tree that waits for a view's
 * locks is called under catalog_lock.
 *
 * Errors: -ENOENT, -EBADMSG, and what kv gives. Records are written only by the holder of change_lock, who may therefore also read them
 * without catalog_lock.
 */
#ifndef CORPUSFS_STORE_CATALOG_H
#define CORPUSFS_STORE_CATALOG_H

#include <stdatomic.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/base/locks.h"
#include "lib/store/catalog_records.h"
#include "lib/store/lineage.h"
#include "lib/store/snapshots.h"
#include "lib/store/store_dir.h"

struct snapshot {
	char *name;
	struct snapshot_record record;
	struct dataset *dataset;
	struct lineage_view place;
	bool blocked; /* being destroyed: not given out any more */
	enum { IDENTITY_UNKNOWN, IDENTITY_KNOWN, IDENTITY_FAILED } identity; /* what identity_step() found; FAILED: not tried again */
	UT_hash_handle by_name; /* in dataset->snapshots */
	UT_hash_handle by_view; /* in store->by_view */
};

/* Snapshots by number: in the order in which they were taken. */
struct snapshot_order {
	ARRAY_FIELDS(struct snapshot *);
};

struct dataset {
	char *name;
	struct dataset_record record;
	struct snapshot *snapshots; /* uthash by_name */
	struct snapshot_order order;
	struct family_views *family;
	struct lineage_view place; /* of the head */
	uint64_t shared;           /* lineage_shared() as the head's view knows it */
	bool replica;              /* only streams change it (replica.h) */
	bool leaseless;            /* nobody changes it (leaseless.h) */
	uint64_t end_ms;           /* the same, from then on, as of view_set_end; catalog_lock guards it */
	bool blocked;
	struct dataset *prev, *next; /* in family->heads */
	UT_hash_handle by_name, by_id;
	UT_hash_handle by_head; /* the head's view number */
};

/* Whether changes of its head are refused. Caller holds catalog_lock or change_lock. */
static inline bool dataset_is_locked(const struct dataset *dataset)
{
	return dataset->replica || dataset->leaseless;
}

/* What lives of a family. It goes with the last view. */
struct family_views {
	uint32_t family;
	struct lineage *lineage;
	struct dataset *heads;
	UT_hash_handle hh;
};

/*
 * A view that is open. A head stays; a snapshot's goes to the idle list at its last put.
 *
 * A head that was replaced by rollback is retired: nobody gets it any more, its readers go on, and its last put closes it. Until then it counts
 * as living. `keeper` is the number of the view that keeps its state: of the guard, or of the head itself if there is none. Pruning that view
 * waits for the readers, because what only they still saw is found then (prune.c).
 */
struct open_view {
	uint32_t number;
	struct view *view;
	unsigned refs;
	bool head, retired;
	bool blocked; /* a head that is to go; see views_block */
	uint32_t keeper;
	struct family_views *family; /* of a retired one */
	struct lineage_view place;   /* of a retired one */
	bool idle;
	struct open_view *prev, *next; /* in store->idle, the longest unused first, or in store->retired */
	UT_hash_handle hh;
};

/* A destroyed view whose versions wait to be pruned: 'P' record. */
struct prune {
	uint32_t view;
	struct prune_record record;
	UT_hash_handle hh;
};

enum counter { COUNTER_DATASET, COUNTER_FAMILY, COUNTER_VIEW, COUNTER_SNAPSHOT, COUNTER_COUNT };

struct store {
	struct store_dir dir;
	struct superblock superblock;
	struct lock *lock; /* NULL: it is opened read-only */
	int shared_fd;     /* the lock then; -1: there is none */
	bool read_only, opened;
	unsigned accept; /* damage that is accepted; the store is read-only */
	int failure; /* of store_note_failure() */
	int writable; /* why not: -EROFS, -EACCES; 0: the directory can be written */
	struct kv *kv;
	struct pool *pool;
	struct chunks *chunks;
	struct tree *tree;
	void (*met_damage)(void *arg, const struct store_damage *damage); /* see store_options */
	void *met_damage_arg;
	struct log_sync *log_sync; /* NULL: it is opened read-only */

	struct mutex change_lock; /* see store.h */
	uint64_t counters[COUNTER_COUNT]; /* next to give out; change_lock */

	struct mutex catalog_lock; /* guards all below */
	pthread_cond_t unused;        /* some view's refs became 0 */
	struct dataset *datasets;     /* uthash by_name */
	struct dataset *by_id;        /* uthash: all datasets */
	struct dataset *by_head;      /* uthash: all datasets */
	struct snapshot *by_view;     /* uthash: all snapshots */
	struct snapshot_order order;  /* all snapshots */
	uint64_t identified;          /* of the snapshots with lower numbers it is known that they have an identity, or will have none */
	struct family_views *families; /* uthash by number */
	struct open_view *open;       /* uthash by number */
	struct open_view *idle;
	unsigned idle_count;
	struct open_view *retired;
	struct prune *prunes;         /* uthash by view, the longest destroyed first */
	struct store_hooks hooks;
	ARRAY(char *) receivers;      /* datasets that streams are being received into; owned */

	atomic_bool restoring;          /* a dataset_restore is at work */
	atomic_bool collecting;         /* a gc_run is at work */
	atomic_bool scrubbing;          /* a scrub_run is at work */
	atomic_bool sweep_due;          /* versions were pruned since the last sweep */
	atomic_uint_fast64_t kept_keys; /* chunks there were after the last sweep */
	uint64_t dropped_noted;         /* what the record said of dropped bytes when the store was opened */
};

/* --- catalog_load.c --- */
WARN_UNUSED int catalog_load(struct store *store, struct error *err);

/* Gives out a number and notes it in the batch. Caller holds change_lock. -EOVERFLOW when view numbers are used up. */
WARN_UNUSED int catalog_number(struct store *store, enum counter counter, struct kv_batch *batch, uint64_t *ret_number);

/* --- catalog.c --- */
void catalog_clear(struct store *store);

/* A dataset that a stream is received into; nobody is told of it. Names that people give have no '@'. */
static inline bool catalog_is_hidden(const char *name)
{
	return name[0] == '@';
}

/* Lookups; caller holds catalog_lock or change_lock. NULL: none. */
struct dataset *catalog_dataset(struct store *store, const char *name);
struct dataset *catalog_dataset_by_id(struct store *store, uint32_t id);
struct dataset *catalog_dataset_by_view(struct store *store, uint32_t view);
struct snapshot *catalog_snapshot(struct dataset *dataset, const char *name);
struct snapshot *catalog_snapshot_by_view(struct store *store, uint32_t view);
struct family_views *catalog_family(struct store *store, uint32_t family);
struct prune *catalog_prune(struct store *store, uint32_t view);
/* Where snapshots with this number and later ones begin. */
size_t catalog_order_from(const struct snapshot_order *order, uint64_t number);

/* Memory only; caller holds catalog_lock. Names are copied, records taken over; the caller gives heads and snapshots that come a place in
 * their family's lineage. */
struct dataset *catalog_add_dataset(struct store *store, const char *name, struct dataset_record *record);
void catalog_remove_dataset(struct store *store, struct dataset *dataset); /* and its snapshots */
void catalog_rename_dataset(struct store *store, struct dataset *dataset, const char *name);
void catalog_set_head(struct store *store, struct dataset *dataset, uint32_t view); /* another view number */
struct snapshot *catalog_add_snapshot(struct store *store, struct dataset *dataset, const char *name, struct snapshot_record *record);
void catalog_remove_snapshot(struct store *store, struct snapshot *snapshot);
void catalog_rename_snapshot(struct snapshot *snapshot, const char *name);
/* A view without a place in the catalogue leaves the lineage; the family goes with the last. */
void catalog_leave(struct store *store, struct family_views *family, struct lineage_view *place);
void catalog_add_prune(struct store *store, uint32_t view, struct prune_record *record);
void catalog_remove_prune(struct store *store, struct prune *prune);

/* A view is destroyed: removes its identity and orphans, notes it for pruning; and the same in memory once the batch is written. */
WARN_UNUSED int catalog_bury(struct store *store, struct kv_batch *batch, uint32_t family, uint32_t view, const struct line *line);
void catalog_note_buried(struct store *store, uint32_t family, uint32_t view, const struct line *line);

/* Fault points after a batch was written: what is done cannot fail any more, only die. */
#define FAULT_AFTER(name)                       \
	do {                                    \
		int fault_ = fault_point(name); \
		(void)fault_;                   \
	} while (0)

/* --- head_lock.c --- */
/*
 * Freezes the head with all that was accepted, has `change` note why it is locked, or not any more, and locks or unlocks it. It fails as the hooks'
 * freeze does, with `lost`. Caller holds change_lock.
 */
typedef int (*head_change_fn)(struct store *store, struct dataset *dataset, bool on);
WARN_UNUSED int head_change_lock(struct store *store, struct dataset *dataset, head_change_fn change, bool on, struct error *lost);

/* --- views.c --- */
/* The dataset's head, referenced. Caller holds no lock, or change_lock. */
WARN_UNUSED int views_head(struct store *store, struct dataset *dataset, struct view **ret_view);
/* As view_set_end: of the head, also one that it gets later. Caller holds catalog_lock. */
void views_set_end(struct store *store, struct dataset *dataset, uint64_t end_ms);
/* A view that is to go, and what says so then: it is not given out any more. */
struct view_block {
	uint32_t number;
	bool *blocked;
};
/*
 * If nobody uses any of them they are all blocked in one instant, and snapshots' are closed: who is refused has not kept others from what stays.
 * -EAGAIN: *ret_used is used. A head stays open, with what is buffered, which may be all that there is of it: until its dataset is gone for good.
 */
WARN_UNUSED int views_block(struct store *store, const struct view_block *blocks, size_t count, uint32_t *ret_used);
void views_unblock(struct store *store, const struct view_block *blocks, size_t count);
void views_close_blocked(struct store *store, uint32_t head);
WARN_UNUSED int views_check_unused(struct store *store, const struct view_block *blocks, size_t count, uint32_t *ret_used); /* -EAGAIN */
WARN_UNUSED bool views_wait_unused(struct store *store, uint32_t number, const struct timespec *deadline); /* whether in time */
/* A change that may find a view used: -EAGAIN, *ret_used is. Caller holds change_lock. */
typedef int views_attempt(void *arg, uint32_t *ret_used);
WARN_UNUSED int views_try(struct store *store, views_attempt *attempt, void *arg, uint32_t *ret_used, struct error *err); /* takes change_lock */
/*
 * Who has just closed a file is not known to have done so. So what is refused because a view is used is tried again whenever nobody uses that one
 * any more, for a second at most; then -EBUSY. Others have change_lock while this waits.
 */
WARN_UNUSED int views_retry(struct store *store, views_attempt *attempt, void *arg, struct error *err);
/* The dataset gets another head. The view `keeper` keeps the state of the old one; its own number means: none does. Caller holds catalog_lock. */
void views_retire(struct store *store, const struct dataset *dataset, uint32_t keeper);
bool views_is_read(struct store *store, uint32_t keeper); /* somebody still reads a retired head that it keeps; catalog_lock */
/* What the dataset's head shares with other living views, and may not remove when it overwrites it. Caller holds catalog_lock. */
struct line views_shared(const struct dataset *dataset);
/* Tells open heads of the family what the others see. Caller holds change_lock. */
void views_refresh_shared(struct store *store, uint32_t family);
WARN_UNUSED int views_close_all(struct store *store); /* the first error of view_close: something is lost */

/* Referenced heads of a family in dataset id order; give them back with views_put_heads. Caller holds change_lock. */
struct view_set {
	ARRAY_FIELDS(struct view *);
};
WARN_UNUSED int views_get_heads(struct store *store, uint32_t family, struct view_set *ret_set);
void views_put_heads(struct store *store, struct view_set *set);

/* --- datasets.c --- caller holds change_lock */
WARN_UNUSED int dataset_check_new(struct store *store, const char *name, struct error *err); /* -EEXIST, -EINVAL */
/* Without looking at the name, and without telling anybody. */
struct stat;
WARN_UNUSED int dataset_create_locked(struct store *store, const char *name, const struct stat *root, int level, struct error *err, uint32_t *ret_id);
WARN_UNUSED int dataset_clone_locked(struct store *store, const char *dataset, const char *name, const char *new_name, uint32_t *ret_id,
				     struct error *err); /* rollback.c */
/* It is written: into the catalogue. The record is taken over; `origin` is what a clone starts from, else NULL. */
void dataset_appear(struct store *store, const char *name, struct dataset_record *record, struct lineage_view *origin);

/* --- snapshots.c --- caller holds change_lock */
struct dataset *snapshot_dataset(struct store *store, const struct snapshot_name *what); /* NULL: there is none; or catalog_lock */
WARN_UNUSED int snapshot_find_dataset(struct store *store, const struct snapshot_name *what, struct dataset **ret_dataset, struct error *err);
WARN_UNUSED int snapshot_find_named(struct store *store, const struct snapshot_name *what, struct snapshot **ret_snapshot, struct error *err);
WARN_UNUSED int snapshot_find(struct store *store, const char *dataset_name, const char *name, struct snapshot **ret_snapshot,
			      struct error *err);
/* A snapshot of the dataset's head as it stands, into the batch; the head is frozen. `record` is the caller's to clear. */
WARN_UNUSED int snapshot_prepare(struct store *store, struct dataset *dataset, const char *name, const char *note, uint32_t flags,
				 struct timespec taken, struct kv_batch *batch, struct snapshot_record *record);

/* --- gc.c --- whether a sweep is due, kept as job state ('J') */
WARN_UNUSED int gc_state_load(struct store *store);
void gc_state_put(struct store *store, struct kv_batch *batch);
void gc_state_keep(struct store *store); /* before the store is closed, if it can be */

/* --- store.c --- */

/* Takes change_lock, unless the store can only be read: then -EROFS, and no lock is held. */
WARN_UNUSED int store_begin_change(struct store *store, struct error *err);
struct store_hooks store_get_hooks(struct store *store);
void store_changed(struct store *store, enum store_event event, uint32_t dataset, const char *name);
void store_replaced(struct store *store, uint32_t dataset, uint32_t old_view);
bool store_busy(struct store *store, uint32_t view);

#endif
