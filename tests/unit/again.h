/*
 * Each record of lib/format decoded and encoded again: whatever a decoder accepts must come out as it went in, since there is one way to
 * write each record. For the unit tests and the fuzzer.
 */
#ifndef CORPUSFS_TEST_AGAIN_H
#define CORPUSFS_TEST_AGAIN_H

#include <errno.h>

#include "lib/format/record.h"

/* What the decoder returned; if that is 0, `out` has the record again. */
typedef int round_trip(const void *value, size_t len, struct buf *out);

static inline void nothing_to_clear(void *record)
{
}

#define AGAIN(kind, clear)                                                                       \
	static inline int kind##_again(const void *value, size_t len, struct buf *out)           \
	{                                                                                        \
		struct kind##_record record;                                                     \
		int result = kind##_record_decode(value, len, &record);                          \
                                                                                                 \
		if (result == 0) {                                                               \
			kind##_record_encode(&record, out);                                      \
			clear(&record);                                                          \
		}                                                                                \
		return result;                                                                   \
	}

AGAIN(inode, nothing_to_clear)
AGAIN(extent, nothing_to_clear)
AGAIN(entry, nothing_to_clear)
AGAIN(dataset, dataset_record_clear)
AGAIN(snapshot, snapshot_record_clear)
AGAIN(family, nothing_to_clear)
AGAIN(prune, prune_record_clear)
AGAIN(dedup, nothing_to_clear)
AGAIN(damage, nothing_to_clear)
AGAIN(digest, nothing_to_clear)

static inline int identity_again(const void *value, size_t len, struct buf *out)
{
	uint8_t identity[NODE_LEN];
	int result = identity_record_decode(value, len, identity);

	if (result == 0)
		identity_record_encode(identity, out);
	return result;
}

static inline int origin_again(const void *value, size_t len, struct buf *out)
{
	uint8_t id[NODE_LEN];
	int result = origin_record_decode(value, len, id);

	if (result == 0)
		origin_record_encode(id, out);
	return result;
}

static inline int replica_again(const void *value, size_t len, struct buf *out)
{
	int result = replica_record_decode(value, len);

	if (result == 0)
		replica_record_encode(out);
	return result;
}

static inline int content_again(const void *value, size_t len, struct buf *out)
{
	const uint8_t *data;
	size_t data_len;
	int result = content_record_decode(value, len, &data, &data_len);

	if (result == 0)
		content_record_encode(data, data_len, out);
	return result;
}

#endif
