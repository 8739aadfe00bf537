/*
 * A record of the catalogue that is one JSON object: 'J' with the name of who owns it. Who changes it reads, changes and writes it under a lock of his
 * own. Any thread.
 */
#ifndef CORPUSFS_STORE_JSON_RECORD_H
#define CORPUSFS_STORE_JSON_RECORD_H

#include <jansson.h>

#include "lib/store/store.h"

/* A new reference; {} where there is none. -EBADMSG: it is no object. */
WARN_UNUSED int json_record_read(struct store *store, const char *name, json_t **ret_object);
/* It is on disk when this returns 0. */
WARN_UNUSED int json_record_write(struct store *store, const char *name, const json_t *object);

#endif
