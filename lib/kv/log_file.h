/*
 * Reads files in the format of RocksDB's logs (log_format.h, the same since LevelDB, 2011): the write-ahead log and the manifest.
 *
 *   file     = blocks of 32 KiB, the last one may be shorter
 *   block    = fragment*, then zeros if fewer than 7 bytes are left
 *   fragment = u32 LE masked CRC-32C of kind and bytes | u16 LE length | u8 kind (1 whole, 2 first, 3 middle, 4 last) | bytes
 *   record   = a whole one, or a first one, any number of middle ones, and a last one
 *
 *   log_file_open(dir, name, &file)
 *   while ((result = log_file_next(file, &record, &len)) > 0) ...
 *   log_file_close(file)
 *
 * Nothing is believed; memory: a block and the longest record. Internal to lib/kv; one thread.
 */
#ifndef CORPUSFS_KV_LOG_FILE_H
#define CORPUSFS_KV_LOG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct log_file;

/* `dir` is a descriptor. -ENOENT and so on; -EUCLEAN: not a regular file. */
WARN_UNUSED int log_file_open(int dir, const char *name, struct log_file **ret_file);
/* The same of an open file, which belongs to the log file then. */
struct log_file *log_file_over(int fd);
void log_file_close(struct log_file *file); /* NULL is fine */

/*
 * 1: a record, good until the next call; 0: the file ends where a record does; -EBADMSG: what follows is no whole record, be it torn or
 * damaged; -ENOTSUP: a kind of fragment that this program does not know; others: it cannot be read.
 */
WARN_UNUSED int log_file_next(struct log_file *file, const uint8_t **ret_record, size_t *ret_len);

/* After -EBADMSG: goes on at the first record that can be found behind it; false: there is none. */
bool log_file_resume(struct log_file *file);

uint64_t log_file_end(const struct log_file *file); /* where the last record ended that was given */
uint64_t log_file_size(const struct log_file *file);

#endif
