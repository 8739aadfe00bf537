/*
 * Writing a tar in the pax format, as POSIX has it, with GNU tar's and star's records for what POSIX does not know: SCHILY.xattr.*,
 * SCHILY.acl.*, and sparse files in GNU tar's version 1.0. GNU tar, bsdtar and Python read it.
 *
 *   tar_out_new -> (tar_out_member, tar_out_data | tar_out_hole ...)... -> tar_out_end -> tar_out_free
 *
 * Names are bytes and written as they are. One thread at a time. Errors: those of the stream.
 */
#ifndef CORPUSFS_TRANSFER_TAR_OUT_H
#define CORPUSFS_TRANSFER_TAR_OUT_H

#include "lib/transfer/archive_out.h"
#include "lib/transfer/pack.h"

struct tar_out;

struct tar_out *tar_out_new(struct pack *pack); /* which stays the caller's */
void tar_out_free(struct tar_out *tar);         /* NULL is fine */

/* As in archive_out.h. */
WARN_UNUSED int tar_out_member(struct tar_out *tar, const struct archive_member *member, const struct archive_extra *extra);
WARN_UNUSED int tar_out_data(struct tar_out *tar, const void *data, size_t len);
WARN_UNUSED int tar_out_hole(struct tar_out *tar, uint64_t len);
WARN_UNUSED int tar_out_end(struct tar_out *tar);

#endif
