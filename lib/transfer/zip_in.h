/*
 * Reading a zip, from its directory at the end, for only there stand modes, symbolic links and what belongs to it at all. So the stream must
 * be one that can be read at any place. Content is checked against each member's CRC and size; names are bytes.
 *
 *   zip_in_new -> (zip_in_next, zip_in_data...)... -> zip_in_free
 *
 * One thread at a time. Errors: -EBADMSG damaged, others of the stream.
 */
#ifndef CORPUSFS_TRANSFER_ZIP_IN_H
#define CORPUSFS_TRANSFER_ZIP_IN_H

#include "lib/transfer/archive.h"
#include "lib/transfer/stream_in.h"

struct zip_in;
/* Whether a file that begins with these bytes may be a zip. */
bool zip_in_begins_with(const uint8_t *data, size_t len);
struct zip_in *zip_in_new(struct stream_in *in); /* what is wrong is told by the first zip_in_next; the stream stays the caller's */
void zip_in_free(struct zip_in *zip);            /* NULL is fine */

/* As archive_in_next, archive_in_data. */
WARN_UNUSED int zip_in_next(struct zip_in *zip, struct archive_found *ret_found);
WARN_UNUSED int zip_in_data(struct zip_in *zip, const void **ret_data, size_t *ret_len, uint64_t *ret_offset);
const char *zip_in_problem(const struct zip_in *zip); /* of the last -EBADMSG */
uint64_t zip_in_position(const struct zip_in *zip);   /* bytes read */

#endif
