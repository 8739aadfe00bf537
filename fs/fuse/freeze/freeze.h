/*
 * Holds back all who write views of a store, through whatever session, so that the store can take its snapshot of them at one instant
 * (freeze.c says how), and makes the kernel write back what it holds of files that are open for writing.
 *
 *   freeze_attach(freeze, session)          every session that may write, before it starts
 *   freeze_views(freeze, views, ...) -> freeze_thaw(freeze)
 *   freeze_detach(freeze, session)          after it ended
 *
 * One lock covers all of it: only one thread at a time makes the kernel write back or drop pages of these sessions, because a file that the
 * gate has sealed must not be invalidated. It is held from freeze_views to freeze_thaw, which the same thread calls. Nobody may wait for it
 * in a request's thread.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_FREEZE_FREEZE_H
#define CORPUSFS_FUSE_FREEZE_FREEZE_H

#include "fs/fuse/freeze/gate.h"
#include "lib/store/store.h"

struct freeze;

struct freeze *freeze_new(struct store *store);
void freeze_free(struct freeze *freeze); /* all sessions are detached */
struct gate *freeze_gate(struct freeze *freeze);

void freeze_attach(struct freeze *freeze, struct gate_session *session);
void freeze_detach(struct freeze *freeze, struct gate_session *session);
void freeze_await(struct freeze *freeze); /* the end of a freeze that is under way: what the gate held has run */

/*
 * `replaces`: the views are of heads, which get other views before freeze_thaw. -EBUSY when the writers could not be held back in time. Where
 * something that was stored into mapped files of the views is lost (lost.h), it fails once, with *ret_lost; NULL: what the views have is not to be
 * kept. Nobody is held back after a failure, and freeze_thaw then does nothing.
 */
WARN_UNUSED int freeze_views(struct freeze *freeze, const uint32_t *views, size_t count, bool replaces, struct lost_told *ret_lost);
void freeze_thaw(struct freeze *freeze);

/* The kernel writes back what it holds of all files that are open for writing in the session (NULL: in all sessions). */
WARN_UNUSED int freeze_write_back(struct freeze *freeze, struct gate_session *session);
/* Why something that the kernel wrote back is lost, of what the asker was not told of (lost.h); 0: nothing is. */
WARN_UNUSED int freeze_lost(struct freeze *freeze, struct gate_session *session, enum lost_asker asker);
/* As freeze_write_back for all sessions, unless somebody has the lock. */
WARN_UNUSED int freeze_write_back_if_free(struct freeze *freeze);
/* As freeze_write_back for one file. */
WARN_UNUSED int freeze_write_back_file(struct freeze *freeze, struct gate_session *session, uint64_t node);
/* The kernel drops the pages of a range of a file, after writing them back; length 0: of all of it. */
WARN_UNUSED int freeze_drop_pages(struct freeze *freeze, struct gate_session *session, uint64_t node, uint64_t offset, uint64_t length);

#endif
