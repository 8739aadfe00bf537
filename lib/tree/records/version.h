/*
 * Reading and writing versioned records (I1, I2, I6). Internal to lib/tree and the rooms above it.
 *
 * Reading: any thread. Writing: the caller holds the view's epoch_lock shared from before the call until its batch is written, and
 * whatever lock guards the record against other writers (inode.lock, view.names).
 */
#ifndef CORPUSFS_TREE_RECORDS_VERSION_H
#define CORPUSFS_TREE_RECORDS_VERSION_H

#include "lib/tree/records/view.h"

/* Where records of this key are kept: of a key, a stem, or the beginning of a range. */
enum kv_family version_family(const struct tree_key *key);

/* The version that `line` sees: value and its epoch; -ENOENT when absent or a tombstone. value may be NULL to ask only. */
WARN_UNUSED int version_get(struct kv *kv, const struct line *line, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch);
/* As version_get, but a tombstone counts: 0 and an empty value. Whoever is going to put a value needs its epoch, so that it is deleted. */
WARN_UNUSED int version_newest(struct kv *kv, const struct line *line, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch);
/* The same, and whether it is the last: nothing older is stored under the stem. */
WARN_UNUSED int version_newest_of(struct kv *kv, const struct line *line, const struct tree_key *stem, struct buf *value,
				  uint64_t *ret_epoch, bool *ret_is_last);
/* version_get for the view's line. Takes the epoch lock: whoever holds it calls version_get with view->line instead. */
WARN_UNUSED int view_version_get(struct view *view, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch);

/*
 * Adds to the batch: this stem now has this value in the open epoch. The version that it replaces is deleted if nobody else sees it.
 * `old_epoch` is the epoch of the version that the view saw before, 0 if there is none. The caller knows it, which saves a seek.
 */
void version_put(struct view *view, struct kv_batch *batch, const struct tree_key *stem, uint64_t old_epoch, const void *value, size_t len);

/* Whether nobody but this view sees versions of the epoch, which is one of its line. */
bool version_is_ours_alone(const struct view *view, uint64_t epoch);

/*
 * Adds to the batch: the view sees nothing under this stem any more. A tombstone is put only where an older version would show through.
 * ret_tombstone may be NULL: the epoch of the tombstone that the view sees afterwards, 0 if there is none.
 */
WARN_UNUSED int version_delete(struct view *view, struct kv_batch *batch, const struct tree_key *stem, uint64_t *ret_tombstone);
/* The same where what is there cannot be read: a tombstone is put in any case. */
void version_hide(struct view *view, struct kv_batch *batch, const struct tree_key *stem);
/* The same where version_newest_of found a value, of this epoch, and said that it is the last: costs no look at the database. */
void version_delete_last(struct view *view, struct kv_batch *batch, const struct tree_key *stem, uint64_t epoch);

/*
 * The same for all stems in [first, end). 0: all were dealt with. 1: about `limit` versions were looked at and there are more; then `first`
 * stands there. Tombstones that are written come on top of `limit`. *tombstones grows by these, and by those of the open epoch that were there.
 * Content that goes is counted (dropped.h).
 */
WARN_UNUSED int version_delete_range(struct view *view, struct kv_batch *batch, size_t limit, struct tree_key *first,
				     const struct tree_key *end, size_t *tombstones);

/*
 * version_get of many stems in [first, end), all as of the moment when the scan is made. Stems must ascend (one may come again). Those that
 * lie side by side cost a step each instead of a seek.
 */
struct version_scan;
struct version_scan *version_scan_new(struct kv *kv, const struct line *line, const struct tree_key *first, const struct tree_key *end);
void version_scan_free(struct version_scan *scan);
/* The value is valid until the next call. */
WARN_UNUSED int version_scan_get(struct version_scan *scan, const struct tree_key *stem, const uint8_t **ret_value, size_t *ret_len);

/*
 * Walks what a line sees in [first, end): for each stem with a visible, not deleted version, in key order. `skip_to`-style seeks keep
 * long histories cheap. Free it with version_iter_free.
 */
struct version_iter;
struct version_iter *version_iter_new(struct kv *kv, const struct line *line, const struct tree_key *first, const struct tree_key *end,
				      unsigned kv_flags);
void version_iter_free(struct version_iter *iter);
bool version_iter_next(struct version_iter *iter); /* false at the end: ask status */
WARN_UNUSED int version_iter_status(const struct version_iter *iter);
const struct tree_key_parts *version_iter_parts(const struct version_iter *iter); /* valid until the next call */
const uint8_t *version_iter_value(const struct version_iter *iter, size_t *ret_len);

#endif
