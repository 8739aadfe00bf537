/*
 * Makes the kernel write back what it holds of a mount, in bulk: notifications (session.h) write one page at a time, and wait for it. It is
 * done by syncfs(2), which sends all dirty pages but does not wait for the answers: whoever needs them notifies then, and finds little to do.
 * No thread of the daemon may call a file of our own mount (system.h), so a child does.
 *
 *   write_back_begin -> write_back_run, any number of times -> write_back_end
 *
 * Beginning opens the mount's root, which the daemon must be free to answer; running only makes it serve writes. One thread.
 */
#ifndef CORPUSFS_FUSE_SESSION_WRITE_BACK_H
#define CORPUSFS_FUSE_SESSION_WRITE_BACK_H

#include "lib/base/clean.h"

struct write_back;

/* NULL where it cannot be done: what is mounted there is not the connection of that number (any more), say. */
struct write_back *write_back_begin(const char *mountpoint, unsigned connection);
WARN_UNUSED int write_back_run(struct write_back *write_back);
void write_back_end(struct write_back *write_back); /* NULL is fine */

#endif
