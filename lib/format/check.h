/* What all decoders check. A reader that is bad stays bad, so that it is enough to ask at the end. Internal to lib/format. */
#ifndef CORPUSFS_FORMAT_CHECK_H
#define CORPUSFS_FORMAT_CHECK_H

#include "lib/format/record.h"

static inline void check_version(struct reader *reader)
{
	if (read_u8(reader) != FORMAT_VERSION)
		reader->bad = true;
}

static inline void check_hash(struct reader *reader)
{
	if (read_u8(reader) != HASH_SHA256)
		reader->bad = true;
}

static inline bool complete(const struct reader *reader)
{
	return !reader->bad && reader->left == 0;
}

#endif
