/*
 * Reading a tar: v7, ustar, GNU with its sparse files and long names, pax with GNU tar's and star's records.
 *
 *   tar_in_new -> (tar_in_next, tar_in_data...)... -> tar_in_free
 *
 * What a header means is what GNU tar takes it for. Names are bytes: they are never converted.
 * One thread at a time. Errors: -EBADMSG damaged, others of the stream.
 */
#ifndef CORPUSFS_TRANSFER_TAR_IN_H
#define CORPUSFS_TRANSFER_TAR_IN_H

#include "lib/transfer/archive.h"
#include "lib/transfer/unpack.h"

struct tar_in;
struct tar_in *tar_in_new(struct unpack *source); /* which stays the caller's */
void tar_in_free(struct tar_in *tar);             /* NULL is fine */

/* As archive_in_next, archive_in_data. */
WARN_UNUSED int tar_in_next(struct tar_in *tar, struct archive_found *ret_found);
WARN_UNUSED int tar_in_data(struct tar_in *tar, const void **ret_data, size_t *ret_len, uint64_t *ret_offset);
const char *tar_in_problem(const struct tar_in *tar); /* of the last -EBADMSG */
bool tar_in_has_end(const struct tar_in *tar);        /* at the end: the archive said that it is the end */

#endif
