/*
 * A directory of a source as a chain of names up to the top, for messages. A tree may be as deep as a disk allows: the names of a
 * directory and of all those above it are kept once, not once in each path.
 *
 * Counted; threads: any.
 */
#ifndef CORPUSFS_TRANSFER_TRAIL_H
#define CORPUSFS_TRANSFER_TRAIL_H

#include "lib/base/buf.h"

struct trail; /* NULL stands for the top of the source */
struct trail *trail_new(struct trail *above, const char *name);
struct trail *trail_ref(struct trail *trail);
void trail_put(struct trail *trail);
/* Of one that is not the top: they live as long as it does. */
struct trail *trail_above(struct trail *trail);
const char *trail_name(const struct trail *trail);
/* "a/b/NAME"; a very long one without its middle. The caller frees it. */
char *trail_text(const struct trail *trail, const char *name);
/* The whole path of the directory and a '/', however long; nothing for the top. A NUL follows but is not counted. */
void trail_add_path(const struct trail *trail, struct buf *path);

#endif
