/*
 * The store's superblock: a small text file "corpusfs" in the store directory, so that a person with `cat` knows what they have.
 *
 *   corpusfs store
 *   format 1
 *   uuid 7c0e...              (8-4-4-4-12)
 *   created 2026-11-21T08:57:00Z
 *   compat 0                  features: bits in decimal; a bit that this version does not know is ignored,
 *   ro-compat 0               ... lets the store be read and not written,
 *   incompat 0                ... or keeps it from being opened
 *   chunk-min 16384
 *   chunk-average 65536
 *   chunk-max 262144
 *   check 0123456789abcdef    XXH3-64, hex, of all bytes above this line
 *
 * Lines end in \n, keys come in this order. A file that does not parse, or whose check differs, is damaged: refused, untouched.
 *
 * Features. A bit that was ever given out keeps its meaning for good. Two incompatible ones are reserved; this version makes no store that
 * has them and opens none:
 *
 *   incompat 1   encryption: chunks are sealed, and their identities and those of files and snapshots are keyed hashes (record.h)
 *   incompat 2   remote chunks: an extent may name a chunk that is not here yet (key.h)
 */
#ifndef CORPUSFS_FORMAT_SUPERBLOCK_H
#define CORPUSFS_FORMAT_SUPERBLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

#define SUPERBLOCK_NAME "corpusfs"
#define SUPERBLOCK_HINT_MEND "corpusfs repair says whether its copy can stand for it" /* lib/store/mend_superblock.h */

struct superblock {
	uint32_t format;
	char uuid[37];
	int64_t created; /* seconds since 1970 */
	uint64_t compat, ro_compat, incompat;
	uint32_t chunk_min, chunk_average, chunk_max; /* bytes; powers of two, 4 KiB .. 16 MiB */
};

/* False: it has features that must not be lost, which this version would lose by writing. The store may be read. */
bool superblock_writable(const struct superblock *superblock);

void superblock_encode(const struct superblock *superblock, struct buf *out);

/* -EBADMSG damaged, -EPROTONOSUPPORT newer format or unknown incompatible feature; `err` says which and what to do. `path` is for the message. */
WARN_UNUSED int superblock_decode(const char *path, const void *text, size_t len, struct superblock *ret_superblock, struct error *err);

#endif
