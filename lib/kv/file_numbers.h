/* The files of a database whose names are a number between two texts: tables, logs, manifests. Internal to lib/kv; any thread. */
#ifndef CORPUSFS_KV_FILE_NUMBERS_H
#define CORPUSFS_KV_FILE_NUMBERS_H

#include <stdint.h>

#include "lib/base/array.h"
#include "lib/kv/kv.h"

struct file_numbers {
	ARRAY_FIELDS(uint64_t);
};

/* Adds those of the directory's files `prefix` NUMBER `suffix`; all are ascending afterwards. -errno. */
WARN_UNUSED int file_numbers_list(int dir, const char *prefix, const char *suffix, struct file_numbers *numbers);
void file_numbers_sort(struct file_numbers *numbers);

void table_file_name(uint64_t number, char ret_name[KV_TABLE_NAME_MAX]);

#endif
