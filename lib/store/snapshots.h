/*
 * Snapshots, rollback and clones (I3, I4, I5): each is one synced batch of a few records, whatever the dataset's size.
 * All take store.change_lock; freeze/thaw hooks are called where a head's epoch changes.
 */
#ifndef CORPUSFS_STORE_SNAPSHOTS_H
#define CORPUSFS_STORE_SNAPSHOTS_H

#include "lib/store/datasets.h"

struct snapshot_info {
	char name[NAME_LEN_MAX + 1];
	char dataset[NAME_LEN_MAX + 1];
	uint32_t dataset_id, family, view;
	uint64_t number; /* order of taking */
	struct timespec taken;
	uint32_t flags;
	bool is_ancestor; /* the head goes on from it, or from one that does; not: it was left by a rollback */
	char *note;    /* owned */
	char **holds;  /* owned */
	size_t hold_count;
};

void snapshot_info_clear(struct snapshot_info *info);

struct snapshot_name {
	const char *dataset, *name;
	uint32_t id; /* of the dataset, whatever it is called by now, and `dataset` is NULL; 0: it goes by `dataset` */
};

/* All targets in one instant, or none. flags: SNAPSHOT_*. */
WARN_UNUSED int snapshot_create(struct store *store, const struct snapshot_name *targets, size_t count, const char *note, uint32_t flags,
				struct error *err); /* -ENOENT dataset, -EEXIST, -EINVAL, -ENOSPC */
WARN_UNUSED int snapshot_get(struct store *store, const char *dataset, const char *name, struct snapshot_info *ret_info);
/* What the view is called by now; NULL: it is no snapshot, or none any more. Freed by the caller. */
char *snapshot_name(struct store *store, uint32_t view);
/* When the view was taken; -ENOENT: it is no snapshot, or none any more. */
WARN_UNUSED int snapshot_taken(struct store *store, uint32_t view, struct timespec *ret_taken);
/* In the order in which they were taken. dataset NULL: all datasets. Stops when the callback returns not 0, and returns that. No lock is held
 * during the callback: what comes and goes meanwhile may be in the list or not. */
WARN_UNUSED int snapshot_list(struct store *store, const char *dataset, int (*each)(void *arg, const struct snapshot_info *info), void *arg);
/* The same by the dataset's number, whatever it is called by now; 0: all. Of one that is gone there are none. */
WARN_UNUSED int snapshot_list_by_id(struct store *store, uint32_t dataset, int (*each)(void *arg, const struct snapshot_info *info), void *arg);
WARN_UNUSED int snapshot_rename(struct store *store, const struct snapshot_name *what, const char *new_name, struct error *err);
/* Returns at once; its versions and chunks are pruned in the background. -EBUSY held (text names the holds), mounted, or being read. */
WARN_UNUSED int snapshot_destroy(struct store *store, const char *dataset, const char *name, struct error *err);
/* The same for all that are named, or none; one that is named twice is destroyed once. */
WARN_UNUSED int snapshots_destroy(struct store *store, const struct snapshot_name *names, size_t count, struct error *err);
/* One, without waiting for who has just read it: -EAGAIN, and it may be tried again. */
WARN_UNUSED int snapshot_destroy_now(struct store *store, const struct snapshot_name *what, struct error *err);
/* Whether snapshots_destroy would be refused now, as it would say it. */
WARN_UNUSED int snapshots_check_destroy(struct store *store, const struct snapshot_name *names, size_t count, struct error *err);
WARN_UNUSED int snapshot_hold(struct store *store, const char *dataset, const char *name, const char *tag, struct error *err);
WARN_UNUSED int snapshot_release(struct store *store, const char *dataset, const char *name, const char *tag, struct error *err);

/* I4. guard: keep the state that is left as a snapshot named before-rollback-YYYYMMDDTHHMMSSZ (a number is added if taken); its name is
 * returned in ret_guard (NAME_LEN_MAX+1 bytes, may be NULL; "" without guard). The head gets a new view number. What cannot be committed stands
 * against a guard; without one it is dropped with the rest. */
WARN_UNUSED int dataset_rollback(struct store *store, const char *dataset, const char *snapshot, bool guard, char *ret_guard,
				 struct error *err);

/* I5 */
WARN_UNUSED int dataset_clone(struct store *store, const char *dataset, const char *snapshot, const char *new_name, struct error *err);

#endif
