/*
 * Writing a zip, as PKWARE's APPNOTE has it, to a stream: sizes and checksum of a file follow its content. Names are UTF-8; Unix modes,
 * owners and times to the second stand in the extra fields of Info-ZIP; large files and many files in those of zip64.
 *
 *   zip_out_new -> (zip_out_member, zip_out_data | zip_out_hole ...)... -> zip_out_end -> zip_out_free
 *
 * The list of members, which ends a zip, grows in a file without a name.
 * One thread at a time. Errors: those of the stream; -EOPNOTSUPP: a zip holds no such member; -errno of the list's file.
 */
#ifndef CORPUSFS_TRANSFER_ZIP_OUT_H
#define CORPUSFS_TRANSFER_ZIP_OUT_H

#include "lib/transfer/archive_out.h"
#include "lib/transfer/stream_out.h"

struct zip_out;

struct zip_out *zip_out_new(struct stream_out *out); /* which stays the caller's; NULL: no memory */
void zip_out_free(struct zip_out *zip);              /* NULL is fine */

/* As in archive_out.h. */
WARN_UNUSED int zip_out_member(struct zip_out *zip, const struct archive_member *member);
WARN_UNUSED int zip_out_data(struct zip_out *zip, const void *data, size_t len);
WARN_UNUSED int zip_out_hole(struct zip_out *zip, uint64_t len);
WARN_UNUSED int zip_out_end(struct zip_out *zip);
const char *zip_out_lost(const struct zip_out *zip);
const char *zip_out_note(const struct zip_out *zip);

#endif
