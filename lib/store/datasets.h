/* Datasets: named file trees at the root of the mount. All functions: any thread; changes take store.change_lock. */
#ifndef CORPUSFS_STORE_DATASETS_H
#define CORPUSFS_STORE_DATASETS_H

#include "lib/store/store.h"

struct dataset_info {
	char name[NAME_LEN_MAX + 1];
	uint32_t id, family, view;
	uint64_t epoch;
	int64_t created;
	int level;
	uint64_t quota; /* bytes; 0: none */
	bool replica;   /* only streams change it: replica.h */
	size_t snapshots; /* how many */
	char schedule[512]; /* JSON, or "" */
};

/* 0, -EINVAL or -ENAMETOOLONG with a text: empty, ".", "..", ".snapshots", slash, '@', NUL, control characters, not UTF-8, over 255 bytes,
 * leading '-'. Also for snapshot names. `what` is "dataset" or "snapshot". */
WARN_UNUSED int dataset_name_check(const char *what, const char *name, struct error *err);

WARN_UNUSED int dataset_create(struct store *store, const char *name, uint32_t mode, uint32_t uid, uint32_t gid, int level,
			       struct error *err); /* -EEXIST */
WARN_UNUSED int dataset_get(struct store *store, const char *name, struct dataset_info *ret_info); /* -ENOENT */
WARN_UNUSED int dataset_get_by_id(struct store *store, uint32_t id, struct dataset_info *ret_info);
/* In name order; stops when the callback returns not 0 and returns that. No lock is held during the callback. */
WARN_UNUSED int dataset_list(struct store *store, int (*each)(void *arg, const struct dataset_info *info), void *arg);
/* What streams have left unfinished under either name goes. -ENOENT, -EEXIST; -EBUSY: a stream is being received into one. */
WARN_UNUSED int dataset_rename(struct store *store, const char *name, const char *new_name, struct error *err);

#define DATASET_DESTROY_EMPTY_ONLY 1U /* as rmdir at the mount's root: -ENOTEMPTY when it has files or snapshots */
#define DATASET_DESTROY_SNAPSHOTS 2U  /* its snapshots too; without, -ENOTEMPTY when it has some */
/* And what a stream into it has left unfinished. -EBUSY: held, being read, or a stream is being received into it. */
WARN_UNUSED int dataset_destroy(struct store *store, const char *name, unsigned flags, struct error *err);
/* The same without waiting for who has just read it: -EAGAIN, and it may be tried again. */
WARN_UNUSED int dataset_destroy_now(struct store *store, const char *name, unsigned flags, struct error *err);
WARN_UNUSED int dataset_set_level(struct store *store, const char *name, int level, struct error *err);
/* What the head may hold, as lib/tree/records/quota.h counts; 0: no limit. It belongs to the dataset: a rollback keeps it, a clone has none. */
WARN_UNUSED int dataset_set_quota(struct store *store, const char *name, uint64_t bytes, struct error *err);
/* Both 0 where there is none. The first time it counts. -ENOENT */
WARN_UNUSED int dataset_usage(struct store *store, const char *name, uint64_t *ret_quota, uint64_t *ret_used);
/* JSON text, "" for none; its meaning is the schedule job's. -EINVAL when it is too long. */
WARN_UNUSED int dataset_set_schedule(struct store *store, const char *name, const char *schedule, struct error *err);

#endif
