/*
 * The directory of a store, held by a descriptor. Everything in it is opened through the descriptor and without following symbolic
 * links, so that nobody who renames or replaces a directory above it, or puts a link in it, can send us elsewhere. Where a path is
 * needed (RocksDB opens by path), it starts at /proc/self/fd/N. Root opens the directory only if nobody else can write in it
 * (lib/base/trusted.h). Internal to lib/store. Any thread.
 */
#ifndef CORPUSFS_STORE_STORE_DIR_H
#define CORPUSFS_STORE_STORE_DIR_H

#include <stdbool.h>

#include "lib/base/error.h"
#include "lib/format/superblock.h"

#define UNFINISHED_NAME "unfinished" /* there while a store is being made */
#define DATABASE_NAME "db" /* as it is made; see store_dir_find_database */
#define DATABASE_NAME_MAX 32
#define BALLAST_NAME "ballast"
#define DAMAGE_MARK_NAME "damaged"
#define SUPERBLOCK_COPY_NAME SUPERBLOCK_NAME ".copy"

struct store_dir {
	int fd;     /* -1: not open */
	char *path; /* absolute, for people */
};
#define STORE_DIR_CLOSED {.fd = -1}

/* err is set. -ENOENT, -ENOTDIR, -EACCES; -EPERM: root, and others can write in it. */
WARN_UNUSED int store_dir_open(const char *path, struct store_dir *ret_dir, struct error *err);
void store_dir_close(struct store_dir *dir); /* also one that is not open */

char *store_dir_inside(const struct store_dir *dir, const char *name); /* a path that leads there whatever is renamed; freed by the caller */
bool store_dir_has(const struct store_dir *dir, const char *name);

/* Makes a directory in it, or takes the files out of the one that is there. -EBADMSG: it is something else. */
WARN_UNUSED int store_dir_clear(const struct store_dir *dir, const char *name, struct error *err);

/*
 * The database's directory is "db", or "db.WORD" after a store was taken from an owner who might come back (lib/store/lock.c, L4). There
 * is one at a time. -ENOENT, err not set.
 */
WARN_UNUSED int store_dir_find_database(const struct store_dir *dir, char ret_name[DATABASE_NAME_MAX]);
WARN_UNUSED int store_dir_rename_database(const struct store_dir *dir, struct error *err); /* if there is one */

/*
 * The directory for files under construction of this database, made or emptied: "ingest" or "ingest.WORD", as the database is called, so
 * that an owner who comes back finds another one. Removes those of other names. -EBADMSG: it is something else.
 */
#define INGEST_NAME_MAX (DATABASE_NAME_MAX + 8)
WARN_UNUSED int store_dir_ingest(const struct store_dir *dir, const char *database, char ret_name[INGEST_NAME_MAX], struct error *err);

/* The superblock, or its copy. 0, or as store_probe; of a copy that is not there -EMEDIUMTYPE. */
WARN_UNUSED int store_dir_read_superblock(const struct store_dir *dir, const char *name, struct superblock *ret_superblock, struct error *err);
/* Writes the copy, unless it is as it must be. A store without one can be used all the same: nothing is said when that fails. Caller holds the lock. */
void store_dir_keep_superblock(const struct store_dir *dir, const struct superblock *superblock);

/* Of a store that is there: 0, or as store_probe. */
WARN_UNUSED int store_dir_open_store(const char *path, struct store_dir *ret_dir, struct superblock *ret_superblock, struct error *err);

#endif
