/* Records of identities, origins and digests. */
#include <errno.h>
#include <string.h>

#include "lib/format/check.h"

#define FLAG_CONTENT 1U
#define FLAG_SPARSE 2U
#define FLAG_SHA256 4U

void replica_record_encode(struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_u8(out, 0);
}

int replica_record_decode(const void *value, size_t len)
{
	struct reader reader = reader_over(value, len);

	check_version(&reader);
	return read_u8(&reader) != 0 || !complete(&reader) ? -EBADMSG : 0;
}

void origin_record_encode(const uint8_t id[NODE_LEN], struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add(out, id, NODE_LEN);
}

int origin_record_decode(const void *value, size_t len, uint8_t ret_id[NODE_LEN])
{
	struct reader reader = reader_over(value, len);

	check_version(&reader);
	const uint8_t *bytes = read_bytes(&reader, NODE_LEN);
	if (!complete(&reader))
		return -EBADMSG;
	memcpy(ret_id, bytes, NODE_LEN);
	return 0;
}

void identity_record_encode(const uint8_t identity[NODE_LEN], struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_u8(out, HASH_SHA256);
	buf_add(out, identity, NODE_LEN);
}

int identity_record_decode(const void *value, size_t len, uint8_t ret_identity[NODE_LEN])
{
	struct reader reader = reader_over(value, len);

	check_version(&reader);
	check_hash(&reader);
	const uint8_t *bytes = read_bytes(&reader, NODE_LEN);
	if (!complete(&reader))
		return -EBADMSG;
	memcpy(ret_identity, bytes, NODE_LEN);
	return 0;
}

void digest_record_encode(const struct digest_record *record, struct buf *out)
{
	unsigned flags = record->has_content ? FLAG_CONTENT : 0;

	if (record->has_content && record->is_sparse)
		flags |= FLAG_SPARSE | (record->has_sha256 ? FLAG_SHA256 : 0);
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_u8(out, (uint8_t)flags);
	buf_add_u8(out, HASH_SHA256);
	buf_add_u8(out, 0);
	buf_add(out, record->node, NODE_LEN);
	if (!record->has_content)
		return;
	buf_add(out, record->content, NODE_LEN);
	buf_add_le64(out, record->size);
	buf_add_le64(out, record->allocated);
	if (flags & FLAG_SHA256)
		buf_add(out, record->sha256, NODE_LEN);
}

int digest_record_decode(const void *value, size_t len, struct digest_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	const uint8_t *content = NULL, *sha256 = NULL;
	struct digest_record record = {0};

	check_version(&reader);
	uint8_t flags = read_u8(&reader);
	check_hash(&reader);
	uint8_t reserved = read_u8(&reader);
	const uint8_t *node = read_bytes(&reader, NODE_LEN);
	record.has_content = flags & FLAG_CONTENT;
	record.is_sparse = flags & FLAG_SPARSE;
	record.has_sha256 = flags & FLAG_SHA256;
	if (record.has_content) {
		content = read_bytes(&reader, NODE_LEN);
		record.size = read_le64(&reader);
		record.allocated = read_le64(&reader);
	}
	if (record.has_sha256)
		sha256 = read_bytes(&reader, NODE_LEN);
	bool is_known = flags <= (FLAG_CONTENT | FLAG_SPARSE | FLAG_SHA256);
	if (!complete(&reader) || !is_known || reserved != 0 || record.is_sparse > record.has_content || record.has_sha256 > record.is_sparse)
		return -EBADMSG;
	memcpy(record.node, node, NODE_LEN);
	if (content)
		memcpy(record.content, content, NODE_LEN);
	if (sha256)
		memcpy(record.sha256, sha256, NODE_LEN);
	*ret_record = record;
	return 0;
}
