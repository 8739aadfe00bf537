/*
 * The table files of one column family, by the keys they hold, and open descriptors of those that are read. Internal to lib/kv; for
 * families whose keys are numbers of 8 bytes and whose values never change.
 *
 *   table_files_get(files, number, &file)    the file whose range of keys holds the number, open; a reference
 *   ... reads file->fd or file->direct_fd ...
 *   table_files_put(file)
 *
 * Opening costs more than a read of what is in memory, so files stay open: at most a sixteenth of the descriptors that the process may
 * have, the least recently used are closed first. A file that the engine has removed keeps its disk space until it is closed:
 * table_files_refresh() closes those. It is called after each removal of a range, and every few seconds by whoever reads.
 *
 * A value that is read from a file which was removed meanwhile is still right, since values never change.
 *
 * Threads: any, but for table_files_new and table_files_free.
 */
#ifndef CORPUSFS_KV_TABLE_FILES_H
#define CORPUSFS_KV_TABLE_FILES_H

#include <stdatomic.h>

#include "lib/kv/internal.h"

#define TABLE_NAME_LEN 32

struct table_files;

struct table_file {
	char name[TABLE_NAME_LEN]; /* with a leading slash */
	uint64_t first, last, size;
	_Atomic uint64_t data_len;  /* 0: not looked up yet */
	int fd, direct_fd;          /* direct_fd -1: the filesystem cannot do that */
	atomic_bool is_indirect;    /* nor can it be read so, though it could be opened */
	uint8_t *map;               /* of the whole file, never touched: for mincore(2). NULL: none */
	atomic_uint refs;
	_Atomic uint64_t used;      /* grows with each use */
};

struct table_files *table_files_new(struct kv *kv, enum kv_family family);
void table_files_free(struct table_files *files); /* NULL is fine; every file must have been put */

/* -ENOENT also when it has just been compacted away; -EMFILE and so on when it cannot be opened. */
WARN_UNUSED int table_files_get(struct table_files *files, uint64_t number, struct table_file **ret_file);
void table_files_put(struct table_file *file);

void table_files_refresh(struct table_files *files);

#endif
