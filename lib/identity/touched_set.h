/*
 * What was touched in some epochs (I7), and the directories above it: the part of a tree whose digests are not those of the base. Internal
 * to lib/identity; identity.c has the argument. A set belongs to one thread.
 */
#ifndef CORPUSFS_IDENTITY_TOUCHED_SET_H
#define CORPUSFS_IDENTITY_TOUCHED_SET_H

#include "lib/identity/node.h"

struct touched_set;

/* As the source's line sees it. -EUCLEAN: the way up is not known for all of it, the whole tree must be walked. */
WARN_UNUSED int touched_set_load(struct node_source *source, const struct line *since, struct touched_set **ret_set);
void touched_set_free(struct touched_set *set); /* NULL is fine */

/* Whether the directory, or something below it, was touched. */
bool touched_set_has_directory(const struct touched_set *set, uint64_t ino);
/* The walk came to such a directory. */
void touched_set_reached(struct touched_set *set, uint64_t ino);

/* The walk came to a name of this inode, which is no directory: notes that, and says whether it was touched. */
bool touched_set_name(struct touched_set *set, uint64_t ino);

/* After the walk: whether it came to all that it should have come to. */
bool touched_set_complete(const struct touched_set *set);

#endif
