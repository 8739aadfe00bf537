/*
 * Which views of a family see a version, for who looks at each version once and not once per view.
 *
 * A set of views is a struct line (lib/format/record.h) of their places in the family's list. Snapshots of a dataset stand there in the order
 * in which they were taken, its head behind them, so the views that see a version mostly follow each other, and their set is one interval.
 * What was worked out is kept, up to a bound: versions of few epochs come again and again. One thread.
 */
#ifndef CORPUSFS_VERIFY_VIEW_SETS_H
#define CORPUSFS_VERIFY_VIEW_SETS_H

#include "lib/base/array.h"
#include "lib/format/key.h"
#include "lib/format/record.h"

/* A view, and how it is called. */
struct viewer {
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1]; /* "": the head */
	uint32_t dataset_id, number;
	uint64_t epoch;    /* of a head: its open one; else 0 */
	struct line line;
};

struct viewers {
	ARRAY_FIELDS(struct viewer); /* of one family */
};

void viewers_clear(struct viewers *viewers);

struct view_sets;
struct view_sets *view_sets_new(const struct viewers *viewers); /* at least one; they stay the caller's and are left alone */
void view_sets_free(struct view_sets *sets);                    /* NULL is fine */

/* Versions of one record, the newest first; `is_newest`: a record begins. Who sees this one; valid until view_sets_tidy. */
const struct line *view_sets_of(struct view_sets *sets, bool is_newest, uint64_t epoch);
/* Between records: forgets what was worked out, if it is much. */
void view_sets_tidy(struct view_sets *sets);

#endif
