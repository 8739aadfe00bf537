/*
 * Freezing views: while heads are frozen, all that was accepted from their users is on disk and nothing of them changes there. Then
 * whoever takes a snapshot, or rolls back, says what the heads go on with. This is the only code that ever holds several epoch locks.
 *
 *   freeze_begin        commits and freezes all the given heads at one instant; one call for all that are needed
 *   freeze_set_...      what is to hold from the end on, any number of times; nothing: the heads go on as they were
 *   freeze_end          thaws all; always called, by the thread that froze
 *
 * Threads: any, several at a time. The caller holds no lock of a view, and keeps the views open. Whoever froze calls nothing that takes
 * the epoch lock of a frozen view (view.h) until the end.
 */
#ifndef CORPUSFS_TREE_FREEZE_FREEZE_H
#define CORPUSFS_TREE_FREEZE_FREEZE_H

#include "lib/tree/records/view.h"

struct freeze;

/* Of one tree, each view once. -EROFS: one is no head. -EBUSY: it is written to faster than it can be committed. What a commit gives. */
WARN_UNUSED int freeze_begin(struct view *const *views, size_t count, struct freeze **ret_freeze);

/* The same for whoever locks or retires a head (view_set_locked, freeze_retire): writers are kept out until the end, and then they are refused. */
WARN_UNUSED int freeze_begin_held(struct view *const *views, size_t count, struct freeze **ret_freeze);

/*
 * The same for whoever retires a head and keeps nothing of it: what cannot be committed does not stand against that. It stays buffered, and is dropped
 * at the end if the head is retired by then.
 */
WARN_UNUSED int freeze_begin_dropping(struct view *head, struct freeze **ret_freeze);

/* The same without committing anything: buffered writes go on. For the collector, as long as it looks at versions and removes some. */
WARN_UNUSED int freeze_begin_uncommitted(struct view *const *views, size_t count, struct freeze **ret_freeze);

void freeze_set_epoch(struct freeze *freeze, struct view *view, const struct line *line, uint64_t epoch); /* the line is copied */
void freeze_set_shared(struct freeze *freeze, struct view *view, const struct line *shared);              /* see view_set_shared */
/* The head was rolled back and this is its former view: reads go on, every change from now on answers -ESTALE, and what is buffered
 * still, of which there is nothing after freeze_begin_held, is dropped: of such a file reads answer -ESTALE, too. */
void freeze_retire(struct freeze *freeze, struct view *view);

void freeze_end(struct freeze *freeze);

#endif
