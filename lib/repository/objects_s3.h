/* A store of objects behind S3, where the keys are the paths of restic's local backend. */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_S3_H
#define CORPUSFS_REPOSITORY_OBJECTS_S3_H

#include "lib/repository/objects_net.h"

/* Looks whether the place answers and who asks may. What is wrong is told in the place's words. Making: it need not be there yet. */
WARN_UNUSED int objects_s3_open(const struct objects_access *access, bool making, struct objects **ret_objects, struct error *err);

#endif
