/*
 * Reading archives: tar, zip and their compressions, as streams of members.
 *
 *   archive_in_new -> archive_in_next, archive_in_data ... -> archive_in_free
 *
 * One thread at a time. Errors: -EBADMSG damaged or not an archive, -errno of the descriptor.
 */
#ifndef CORPUSFS_TRANSFER_ARCHIVE_IN_H
#define CORPUSFS_TRANSFER_ARCHIVE_IN_H

#include "lib/transfer/archive.h"

struct archive_in;

/* `stopped` is asked while the descriptor has nothing to read. -EBADMSG: not an archive. */
WARN_UNUSED int archive_in_new(int fd, bool (*stopped)(void *arg), void *arg, struct archive_in **ret_in, struct error *err);
void archive_in_free(struct archive_in *in); /* NULL is fine */
/* 1 and a member, valid until the next call; 0 at the end; -EBADMSG. */
WARN_UNUSED int archive_in_next(struct archive_in *in, struct archive_member *ret_member);
/* The member's next stretch of data, ascending; 1, 0 at its end, -EBADMSG. */
WARN_UNUSED int archive_in_data(struct archive_in *in, const void **ret_data, size_t *ret_len, uint64_t *ret_offset);
void archive_in_xattrs(struct archive_in *in, void (*each)(void *arg, const char *name, const void *value, size_t len), void *arg);
const char *archive_in_problem(struct archive_in *in); /* of the last -EBADMSG */
uint64_t archive_in_bytes(struct archive_in *in);      /* taken from the descriptor */

#endif
