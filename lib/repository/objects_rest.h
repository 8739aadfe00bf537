/* A store of objects behind restic's REST protocol, version 2 (restic's doc/REST_backend.rst). */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_REST_H
#define CORPUSFS_REPOSITORY_OBJECTS_REST_H

#include "lib/repository/objects_net.h"

/* Looks whether the place answers and who asks may. What is wrong is told in the place's words. Making: it need not be there yet. */
WARN_UNUSED int objects_rest_open(const struct objects_access *access, bool making, struct objects **ret_objects, struct error *err);

#endif
