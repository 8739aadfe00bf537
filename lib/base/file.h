/* Files of the store itself: small ones read whole and replaced atomically. Errors: negative errno. */
#ifndef CORPUSFS_BASE_FILE_H
#define CORPUSFS_BASE_FILE_H

#include <dirent.h>

#include "lib/base/buf.h"

/* Reads a whole file of at most `limit` bytes (-EFBIG beyond). */
WARN_UNUSED int file_read(const char *path, size_t limit, struct buf *ret_content);

/*
 * Opens a regular file by its name in a directory (a descriptor). What is there instead, a symbolic link, a fifo, a device, is neither
 * followed nor waited for: -EUCLEAN. O_CLOEXEC is added.
 */
WARN_UNUSED int file_open_inside(int dir, const char *name, int flags, unsigned mode);
WARN_UNUSED int file_read_inside(int dir, const char *name, size_t limit, struct buf *ret_content);

/* Writes path.tmp, fsyncs it, renames it over path and fsyncs the directory. */
WARN_UNUSED int file_replace(const char *path, const void *data, size_t len, unsigned mode);

WARN_UNUSED int file_sync_dir(const char *path);

/* Writes or reads all of it at the offset, through EINTR and short counts; -EIO at an early end of file. */
WARN_UNUSED int file_write_all(int fd, const void *data, size_t len);
WARN_UNUSED int file_write_at(int fd, const void *data, size_t len, uint64_t offset); /* all of it; wherever the descriptor stands */
WARN_UNUSED int file_read_all(int fd, void *data, size_t len);
/* From its start, wherever the descriptor stands: others may have the same one. -EFBIG */
WARN_UNUSED int file_read_from_start(int fd, size_t limit, struct buf *ret_content);
/* A file in memory; the descriptor, or an errno. */
WARN_UNUSED int file_in_memory(const char *name, const void *data, size_t len);

/* The entries of a directory, from the first on, wherever its descriptor or a copy of it stands. NULL: errno says why. */
DIR *file_entries(int dir);
/* 1 and the name of the next entry but "." and "..", 0 at the end, or an errno: a directory that cannot be read is not one that ends. */
WARN_UNUSED int file_next_entry(DIR *entries, const char **ret_name);

/* Removes the regular files in a directory, not the directory itself. -ENOTDIR for a symbolic link to one. */
WARN_UNUSED int file_empty_dir(const char *path);

#endif
