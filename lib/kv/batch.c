/*
 * A batch keeps its operations in one buffer of its own and hands them to RocksDB when it is written: RocksDB's batches need handles of an
 * open database, ours do not, and copying a record twice is nothing beside the checksum that the log computes over it.
 *
 * operation: u8 type | u8 family | u32 key length | u32 value length | key | value
 */
#include <assert.h>
#include <errno.h>

#include "lib/base/fault.h"
#include "lib/kv/inside.h"
#include "lib/kv/reopen.h"

#define OP_HEAD 10

enum op_type { OP_PUT, OP_DELETE };

struct kv_batch {
	struct buf ops;
	size_t count;
	bool is_content; /* it brings chunks */
	bool is_cut;     /* there was no memory for all of it */
};

struct kv_batch *kv_batch_new(void)
{
	return xcalloc(1, sizeof(struct kv_batch));
}

void kv_batch_free(struct kv_batch *batch)
{
	if (!batch)
		return;
	buf_clear(&batch->ops);
	free(batch);
}

void kv_batch_clear(struct kv_batch *batch)
{
	buf_reset(&batch->ops);
	batch->count = 0;
	batch->is_content = batch->is_cut = false;
}

static bool add_op(struct kv_batch *batch, enum op_type type, enum kv_family family, const void *key, size_t key_len,
                   size_t value_len)
{
	assert(family < KV_FAMILY_COUNT && key_len <= UINT32_MAX && value_len <= UINT32_MAX);
	batch->count++; /* also without memory for it: who asks must not take the batch for an empty one */
	if (batch->is_cut || !buf_try_reserve(&batch->ops, OP_HEAD + key_len + value_len)) {
		batch->is_cut = true;
		return false;
	}
	buf_add_u8(&batch->ops, (uint8_t)type);
	buf_add_u8(&batch->ops, (uint8_t)family);
	buf_add_le32(&batch->ops, (uint32_t)key_len);
	buf_add_le32(&batch->ops, (uint32_t)value_len);
	buf_add(&batch->ops, key, key_len);
	return true;
}

void kv_batch_put(struct kv_batch *batch, enum kv_family family, const void *key, size_t key_len, const void *value,
                  size_t value_len)
{
	kv_batch_put2(batch, family, key, key_len, value, value_len, NULL, 0);
}

void kv_batch_put2(struct kv_batch *batch, enum kv_family family, const void *key, size_t key_len, const void *head,
                   size_t head_len, const void *tail, size_t tail_len)
{
	if (!add_op(batch, OP_PUT, family, key, key_len, head_len + tail_len))
		return;
	batch->is_content = batch->is_content || family == KV_SMALL;
	buf_add(&batch->ops, head, head_len);
	buf_add(&batch->ops, tail, tail_len);
}

void kv_batch_delete(struct kv_batch *batch, enum kv_family family, const void *key, size_t key_len)
{
	(void)add_op(batch, OP_DELETE, family, key, key_len, 0);
}

size_t kv_batch_count(const struct kv_batch *batch)
{
	return batch->count;
}

size_t kv_batch_bytes(const struct kv_batch *batch)
{
	return batch->ops.len;
}

static rocksdb_writebatch_t *translate(struct kv *kv, const struct kv_batch *batch)
{
	rocksdb_writebatch_t *native = rocksdb_writebatch_create();
	struct reader ops = reader_over(batch->ops.data, batch->ops.len);

	while (ops.left > 0) {
		uint8_t type = read_u8(&ops);
		rocksdb_column_family_handle_t *handle = kv->handles[read_u8(&ops)];
		uint32_t key_len = read_le32(&ops);
		uint32_t value_len = read_le32(&ops);
		const char *key = (const char *)read_bytes(&ops, key_len);
		const char *value = (const char *)read_bytes(&ops, value_len);
		if (type == OP_PUT)
			rocksdb_writebatch_put_cf(native, handle, key, key_len, value, value_len);
		else
			rocksdb_writebatch_delete_cf(native, handle, key, key_len);
	}
	assert(!ops.bad);
	return native;
}

/*
 * The number of its last change. When a batch is written, RocksDB notes in it the number of the first one (WriteBatchInternal::SetSequence), the
 * only way to learn it: others write meanwhile. Should that ever not be so, it is `at_least` this one.
 */
static uint64_t last_number(rocksdb_writebatch_t *native, const struct kv_batch *batch, uint64_t at_least)
{
	size_t len;
	const char *bytes = rocksdb_writebatch_data(native, &len);
	struct reader reader = reader_over(bytes, len);
	const uint64_t first = read_le64(&reader);

	return reader.bad || first == 0 || batch->count == 0 ? at_least : MAX(at_least, first + batch->count - 1);
}

static void note_written(struct kv *kv, const struct kv_batch *batch, uint64_t sequence)
{
	kv_raise(&kv->in_log, sequence);
	atomic_fetch_add(&kv->written, batch->ops.len - batch->count * OP_HEAD);
}

static int write_once(struct kv *kv, struct kv_batch *batch, unsigned flags)
{
	char *message = NULL;
	int result = batch->is_cut ? -ENOMEM : kv_admit(kv, false);

	if (result == 0)
		result = kv_admit_room(kv, batch->ops.len, flags & KV_GIVES_ROOM ? KV_GIVES_BACK : batch->is_content ? KV_BRINGS_CONTENT : KV_CHANGES);
	if (result < 0)
		return result;
	if (!kv_enter(kv))
		return -EIO;
	rocksdb_writebatch_t *native = translate(kv, batch);
	struct kv_promise promise = flags & KV_SYNC ? kv_before_sync(kv) : (struct kv_promise){0};
	const uint64_t at_least = kv_last_sequence(kv) + batch->count;
	rocksdb_write(kv->db, flags & KV_SYNC ? kv->write_sync : kv->write, native, &message);
	const uint64_t sequence = last_number(native, batch, at_least);
	rocksdb_writebatch_destroy(native);
	if (message)
		(void)!fault_point("kv-write-refused");
	result = kv_change_result(kv, message);
	kv_leave(kv);
	if (result == 0)
		note_written(kv, batch, sequence);
	promise.sequence = sequence;
	/* If others wrote meanwhile, the sync may not have been of that: the next one says all. */
	if (result == 0 && (!(flags & KV_SYNC) || kv_last_sequence(kv) != sequence))
		kv_note_unsynced(kv);
	if (result == 0 && (flags & KV_SYNC))
		result = kv_admit(kv, true);
	if (result == 0 && (flags & KV_SYNC))
		kv_synced(kv, promise);
	return result;
}

int kv_write(struct kv *kv, struct kv_batch *batch, unsigned flags)
{
	const unsigned opened = kv_opened(kv);
	int result = write_once(kv, batch, flags);

	return kv_reopened(kv, result, opened) ? write_once(kv, batch, flags) : result;
}
