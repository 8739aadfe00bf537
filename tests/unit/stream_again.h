/* Each body of a frame decoded and encoded again; for the unit tests and the fuzzer. */
#ifndef CORPUSFS_TEST_STREAM_AGAIN_H
#define CORPUSFS_TEST_STREAM_AGAIN_H

#include "lib/format/stream.h"
#include "tests/unit/again.h"

static inline int stream_header_again(const void *body, size_t len, struct buf *out)
{
	struct stream_header header;
	int result = stream_header_decode(body, len, &header);

	if (result == 0)
		stream_header_encode(&header, out);
	return result == -EPROTONOSUPPORT ? -EBADMSG : result;
}

static inline int stream_entry_again(enum stream_kind kind, const void *body, size_t len, struct buf *out)
{
	struct stream_entry entry;
	int result = stream_entry_decode(kind, body, len, &entry);
	struct reader xattrs = entry.attributes.xattrs;

	if (result < 0)
		return result;
	for (uint32_t i = 0; i < entry.attributes.xattr_count; i++) {
		const uint8_t *value;
		const char *name;
		size_t value_len;

		stream_xattr_next(&xattrs, &name, &value, &value_len);
		if (xattrs.bad || !*name)
			abort();
	}
	if (entry.attributes.xattr_count > 0 && xattrs.left > 0)
		abort();
	stream_entry_encode(&entry, out);
	return 0;
}

#define STREAM_ENTRY_AGAIN(name, kind)                                                          \
	static inline int stream_##name##_again(const void *body, size_t len, struct buf *out)  \
	{                                                                                       \
		return stream_entry_again(kind, body, len, out);                                \
	}

STREAM_ENTRY_AGAIN(old, STREAM_OLD)
STREAM_ENTRY_AGAIN(node, STREAM_NODE)
STREAM_ENTRY_AGAIN(name, STREAM_NAME)
STREAM_ENTRY_AGAIN(meta, STREAM_META)
STREAM_ENTRY_AGAIN(leave, STREAM_LEAVE)

static inline int stream_data_again(const void *body, size_t len, struct buf *out)
{
	struct stream_data data;
	int result = stream_data_decode(body, len, &data);

	if (result < 0)
		return result;
	stream_data_encode(&data, out);
	buf_add(out, data.stored, data.stored_len);
	return 0;
}

static inline int stream_space_again(const void *body, size_t len, struct buf *out)
{
	struct stream_space space;
	int result = stream_space_decode(body, len, &space);

	if (result == 0)
		stream_space_encode(&space, out);
	return result;
}

#endif
