/*
 * What was touched in some epochs (I7), and the directories above it: the part of a tree whose digests are not those of the base. Internal
 * to lib/identity; identity.c has the argument. A set belongs to one thread.
 */
#ifndef CORPUSFS_IDENTITY_TOUCHED_H
#define CORPUSFS_IDENTITY_TOUCHED_H

#include "lib/identity/node.h"

struct touched;

/* As the source's line sees it. -EUCLEAN: the way up is not known for all of it, the whole tree must be walked. */
WARN_UNUSED int touched_load(struct node_source *source, const struct line *since, struct touched **ret_touched);
void touched_free(struct touched *touched); /* NULL is fine */

/* Whether the directory, or something below it, was touched. */
bool touched_has_directory(const struct touched *touched, uint64_t ino);
/* The walk came to such a directory. */
void touched_reached(struct touched *touched, uint64_t ino);

/* The walk came to a name of this inode, which is no directory: notes that, and says whether it was touched. */
bool touched_name(struct touched *touched, uint64_t ino);

/* After the walk: whether it came to all that it should have come to. */
bool touched_complete(const struct touched *touched);

#endif
