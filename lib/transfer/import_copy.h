/* What import_tree and its workers share. Not for others. */
#ifndef CORPUSFS_TRANSFER_IMPORT_COPY_H
#define CORPUSFS_TRANSFER_IMPORT_COPY_H

#include "lib/base/queue.h"
#include "lib/transfer/import_parts.h"
#include "lib/transfer/source_walk.h"

#define LIST_NAMES 128

struct found_name {
	char *name;
	uint64_t ino; /* of the source */
	uint8_t type; /* DT_ */
};

/* Names of one directory for a worker. */
struct list {
	struct source_dir *dir;
	struct found_name items[LIST_NAMES];
	size_t count;
};

struct tree_import {
	struct import *import;
	int fd; /* of the source */
	struct queue *queue;
	struct stat store; /* its directory, which is not imported into itself */

	pthread_mutex_t lock; /* guards what follows */
	struct first_name *firsts; /* of files with several names */
	struct later_name *laters;
	struct claim *claims;
};

struct member member_of(const struct source_dir *dir, const char *name, const struct stat *st);
void list_free(struct list *list);
/* Takes lists from the queue until it is closed. */
void copy_main(void *tree);
/* When all else is there. */
void copy_links(struct tree_import *tree);

#endif
