#include "lib/chunk/dedup.h"

#include <errno.h>

#include "lib/format/record.h"

int dedup_get(struct kv *kv, const uint8_t sha256[DIGEST_LEN], uint64_t *ret_id, uint32_t *ret_length)
{
	AUTO_BUF value = BUF_INIT;
	struct dedup_record record;
	int ret = kv_get(kv, KV_DEDUP, sha256, DIGEST_LEN, &value);

	if (ret)
		return ret == -EBADMSG ? -ENOENT : ret;
	if (dedup_record_decode(value.data, value.len, &record) < 0)
		return -ENOENT;
	*ret_id = record.chunk;
	*ret_length = record.length;
	return 0;
}

void dedup_put(struct kv_batch *batch, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t id)
{
	AUTO_BUF value = BUF_INIT;

	dedup_record_encode(&(struct dedup_record){.chunk = id, .length = length}, &value);
	kv_batch_put(batch, KV_DEDUP, sha256, DIGEST_LEN, value.data, value.len);
}

void dedup_delete(struct kv_batch *batch, const uint8_t sha256[DIGEST_LEN])
{
	kv_batch_delete(batch, KV_DEDUP, sha256, DIGEST_LEN);
}

int dedup_compact(struct kv *kv, uint64_t chunks, bool (*stop)(void *arg), void *arg)
{
	return kv_compact_waste(kv, KV_DEDUP, chunks, stop, arg);
}
