#include "lib/store/gc_hold.h"

#include <errno.h>

#include "lib/store/catalog_records.h"

#define HOLD_NAME "hold"

int gc_hold_get(struct kv *kv)
{
	struct small_key key = catalog_key_name('J', HOLD_NAME);
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(kv, &key, &value);

	if (result < 0)
		return result == -ENOENT ? GC_FREE : result;
	struct reader reader = reader_over(value.data, value.len);
	const uint8_t version = read_u8(&reader), hold = read_u8(&reader);
	return reader.bad || version != FORMAT_VERSION || hold > GC_HELD_SCRUBBED ? -EBADMSG : hold;
}

void gc_hold_put(struct kv_batch *batch, enum gc_hold hold)
{
	struct small_key key = catalog_key_name('J', HOLD_NAME);
	AUTO_BUF value = BUF_INIT;

	buf_add_u8(&value, FORMAT_VERSION);
	buf_add_u8(&value, (uint8_t)hold);
	catalog_record_put(batch, &key, value.data, value.len);
}

int gc_hold_set(struct kv *kv, enum gc_hold hold)
{
	struct kv_batch *batch = kv_batch_new();

	gc_hold_put(batch, hold);
	int result = kv_write(kv, batch, 0);
	kv_batch_free(batch);
	return result;
}
