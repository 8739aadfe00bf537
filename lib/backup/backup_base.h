/*
 * What a backup is based on: an earlier backup of the same dataset, whose packs it may rely on, and whose unchanged directories it takes over.
 *
 *   full            nothing (with `share`: all blobs of the repository may be relied on)
 *   differential    the last full one, a complete one if there is one: only its packs may be relied on
 *   incremental     the last one of any type, or (with `share`) nothing if there is none: all blobs of the repository may be relied on, but for what
 *                   the store's unfinished backups have put, which is theirs alone
 *
 * Of an incomplete one nothing is taken over of what was left out, nor the directories above: that is looked for again.
 *
 * A full or differential one also relies on what one of its type put that was cut off (unfinished.h).
 *
 * What did not change is taken over without a look if the store still has the snapshot that the base was made of, which is told by its view
 * number and when it was taken. Then the touched index (I7) says where to look. What is taken over is as good as the base was: so that must be what
 * this program wrote, and the index must still name all that it wrote and relied on, in packs that are there. Else all is looked at, and what is
 * missing is written again. A blob in a pack that is not there, or is too short, is missing (lost_packs.h): none is relied on.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_BASE_H
#define CORPUSFS_BACKUP_BACKUP_BASE_H

#include "lib/backup/backup_info.h"
#include "lib/backup/unfinished.h"
#include "lib/history/diff_touched.h"
#include "lib/store/snapshots.h"

struct backup_base {
	bool exists;
	struct snapshot_file snapshot;
	char full[BLOB_ID_TEXT]; /* the full backup at the chain's beginning; "" for a full one */
	char *full_snapshot;     /* of the store, that it was made of; NULL: not known. Owned. */
	const char *doubt; /* why nothing of it may be taken over without a look; NULL: it may */
	struct entry_paths exact, large, left_out;
	char damaged[BLOB_ID_TEXT];  /* a snapshot file that is damaged, which may be of a newer backup of the dataset; "": none */
	char misdated[BLOB_ID_TEXT]; /* a backup of an earlier snapshot with a later time, made on this host: its clock was wrong; "": none */
	struct object_names put;  /* packs of the one that was cut off, which this one goes on with */
	struct blob_index *known; /* what may be relied on; owned unless it is the repository's */
	bool known_is_repository;
	struct object_names passed_over; /* packs whose copies count for nothing: of unfinished backups, and lost ones. Sorted */
	struct object_names lost;        /* packs, sorted, that the index names and are not there: what this one needs of them it writes again */
	/* With the store's snapshot of then: */
	bool has_changes;
	struct view *view; /* held */
	struct scan then, now;
	struct diff_touched touched;
	uint64_t met; /* names of files that were touched, so far */
};

/* What is to be backed up. */
struct backup_aim {
	enum backup_type type;
	bool share;
	struct store *store;
	const char *dataset_tag; /* how backups of the dataset are marked */
	bool is_new; /* the state of now: no backup of the dataset may be of a later time, but of a later snapshot */
	bool fills_holes; /* nothing is taken over that has no zeros for its holes */
	uint32_t view; /* the snapshot's number */
	struct timespec taken;
	const struct unfinished *unfinished;
};
/* Of the blobs in these packs, sorted: what a differential backup has in memory besides the repository's index. The result is the caller's. */
WARN_UNUSED int backup_base_index_of(const struct blob_index *index, const struct object_names *packs, struct blob_index **ret_index);

/*
 * Loads the index, after it looked which backups there are. -ENOENT: there is no base of this type, and what to do; -ETIME: the clock is wrong, or
 * was. What is made then would not be the newest one for who restores, nor for the rules by which backups stay.
 */
WARN_UNUSED int backup_base_find(struct backup_base *base, struct repository *repository, const struct backup_aim *aim, struct error *err);
/* All blobs of the repository. */
static inline bool backup_relies_on_all(enum backup_type type, bool share)
{
	return type == BACKUP_INCREMENTAL || (type == BACKUP_FULL && share);
}
/* Whether something is not in the base, there or below, that could not be read then. */
bool backup_base_lacks(const struct backup_base *base, const char *path);
/* Finds out what changed since, if that can be known. */
WARN_UNUSED int backup_base_compare(struct backup_base *base, struct store *store, struct view *view);
void backup_base_clear(struct backup_base *base, struct store *store);

/* Whether the directory, or anything below it, may be another than in the base; of a file, counts its name. Walker's thread only. 1, 0, -errno. */
WARN_UNUSED int backup_base_is_touched(struct backup_base *base, uint64_t ino, bool is_dir);

/*
 * After the walk: whether it came to all names of the files that were touched. A file's record says where it got its last name; its other names
 * may stand in directories that were not touched, and were taken over with what the file was then.
 */
bool backup_base_met_all(const struct backup_base *base);
/* From now on nothing is taken over. */
void backup_base_forget_changes(struct backup_base *base);

#endif
