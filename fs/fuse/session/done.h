/*
 * Which requests the daemons before this one had done when they died, so that only the answer was lost. The mark of each change stands in the
 * batch that makes it (lib/tree/inodes/mark.h), in a place of the thread that makes it, until the next change of that thread; what was found
 * there stays known in what the session keeps (fs/supervise/kept.h), since more than one daemon may die before the request is answered.
 *
 *   done_learn, before there are requests; then done_begin, done_end around each change, by the thread that makes it
 */
#ifndef CORPUSFS_FUSE_SESSION_DONE_H
#define CORPUSFS_FUSE_SESSION_DONE_H

#include "fs/fuse/session/session.h"

void done_learn(const struct session_options *options);
void done_begin(const struct session_options *options, uint64_t request, unsigned place);
void done_end(void);

#endif
