/*
 * Whether a place keeps writers apart: of several that put one object at once, only if it is not there yet (put_new), exactly one must succeed.
 * Servers of S3 know the condition, ignore it or refuse it; so it is tried out, with an object that nobody else knows.
 */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_CONDITIONAL_H
#define CORPUSFS_REPOSITORY_OBJECTS_CONDITIONAL_H

#include "lib/repository/objects.h"

/* -EACCES, -EROFS and the like: nothing can be written there. The object is removed again, and so are those that somebody had to leave. */
WARN_UNUSED int objects_try_conditional(struct objects *objects, bool *ret_conditional);

#endif
