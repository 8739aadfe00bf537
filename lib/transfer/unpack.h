/*
 * The plain bytes of a stream that may be compressed: gzip, zstd, bzip2, xz or lz4, found by its first bytes.
 *
 *   unpack_new -> (unpack_some | unpack_copy | unpack_skip)... -> unpack_drain -> unpack_free
 *
 * The end is only reached when every checksum that the container has was right and nothing but zeros follows it. What came before the end
 * is not proven by then: whoever may not use bytes that turn out wrong drains the stream first and reads it again.
 *
 * One thread at a time. Errors: -EBADMSG damaged, -errno of the descriptor, -ECANCELED.
 */
#ifndef CORPUSFS_TRANSFER_UNPACK_H
#define CORPUSFS_TRANSFER_UNPACK_H

#include "lib/transfer/stream_in.h"

struct unpack;
/* Whether what begins with these bytes is compressed. */
bool unpack_begins_with(const uint8_t *data, size_t len);
enum unpack_form {
	UNPACK_PLAIN,
	UNPACK_KNOWN,   /* by its first bytes, as unpack_begins_with knows it */
	UNPACK_DEFLATE, /* without header and checksum, as in a zip */
};
/* Reads from where the stream stands; what is wrong is told by the first call that asks for bytes. */
struct unpack *unpack_new(struct stream_in *in, enum unpack_form form);
void unpack_free(struct unpack *unpack); /* NULL is fine */

/* Some of the next bytes, without taking them; as unpack_some. Only of what is compressed. */
WARN_UNUSED int unpack_peek(struct unpack *unpack, const uint8_t **ret_data, size_t *ret_len);
/* The next bytes, at most `most`: 1 and at least one byte, good until the next call; 0 at the end. */
WARN_UNUSED int unpack_some(struct unpack *unpack, uint64_t most, const void **ret_data, size_t *ret_len);
/* len bytes; ret_len is less only at the end. */
WARN_UNUSED int unpack_copy(struct unpack *unpack, void *out, size_t len, size_t *ret_len);
WARN_UNUSED int unpack_skip(struct unpack *unpack, uint64_t len); /* -EBADMSG: there were not so many */
/* To the end, with all that is to be checked there. ret_more (or NULL): whether anything but zeros came on the way. */
WARN_UNUSED int unpack_drain(struct unpack *unpack, bool *ret_more);

const char *unpack_problem(const struct unpack *unpack); /* of the last -EBADMSG */

#endif
