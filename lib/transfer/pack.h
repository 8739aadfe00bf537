/*
 * Compresses what an archive writes, into a stream: gzip, zstd, or not at all. Both carry a checksum of the plain bytes.
 *
 *   pack_new -> pack_put ... -> pack_end -> pack_free
 *
 * One thread at a time. Errors: those of the stream.
 */
#ifndef CORPUSFS_TRANSFER_PACK_H
#define CORPUSFS_TRANSFER_PACK_H

#include "lib/transfer/stream_out.h"

enum packing { PACK_PLAIN, PACK_GZIP, PACK_ZSTD };

struct pack;

struct pack *pack_new(struct stream_out *out, enum packing packing); /* the stream stays the caller's; NULL: no memory */
void pack_free(struct pack *pack);                                   /* NULL is fine */
WARN_UNUSED int pack_put(struct pack *pack, const void *data, size_t len);
WARN_UNUSED int pack_end(struct pack *pack); /* all is in the stream, which was flushed */

#endif
