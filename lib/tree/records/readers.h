/*
 * Who reads chunks that extents name. An extent may be overwritten, or get another chunk, after it was looked up and before its chunk is
 * read; the collector does not remove that chunk under the reader.
 *
 *   readers_enter   before extents are looked up; gives the number of the turn
 *   readers_leave   after their chunks were read
 *
 * The collector calls readers_wait after it has walked all extents, and before it removes the chunks that it did not find: whoever was
 * inside then is gone, and who came later looks at extents that the walk has seen, or at newer ones. So a chunk that a reader inside does not
 * find is lost. Entering never waits. Any thread; one collector at a time.
 *
 * The collector waits as long as the slowest reader inside. So who waits for others while he has chunks, as one who writes them to a pipe,
 * leaves before. Extents that he keeps, and looked up in a turn of the same number, are as good when he is inside again: since then no collector
 * has begun to wait, and the next one waits for him. With another number they are looked up anew.
 */
#ifndef CORPUSFS_TREE_RECORDS_READERS_H
#define CORPUSFS_TREE_RECORDS_READERS_H

#include "lib/tree/records/view.h"

unsigned readers_enter(struct tree *tree);
void readers_leave(struct tree *tree, unsigned turn); /* with what readers_enter returned */

/* Waits until all who are inside at the call have left. `step` is called meanwhile; not 0 stops with that result. */
WARN_UNUSED int readers_wait(struct tree *tree, int (*step)(void *arg), void *arg);

/*
 * Extents move when they get other chunks with the same bytes (lib/reclaim/repack.c).
 *
 * readers_moves: how often that was. A reader inside may use extents that he keeps as long as it is what it was before they were looked up.
 * readers_hold_moves: nothing moves until readers_release_moves. For whoever makes an extent from one of another view. With inodes' locks.
 * readers_move_begin: the caller alone moves extents until readers_move_end. Before epoch locks are taken.
 */
uint64_t readers_moves(struct tree *tree);
void readers_hold_moves(struct tree *tree);
void readers_release_moves(struct tree *tree);
void readers_move_begin(struct tree *tree);
void readers_move_end(struct tree *tree);

#endif
