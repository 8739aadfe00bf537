#include "lib/tree/records/family.h"

#include <errno.h>
#include <uthash.h>

#define INO_STRIDE 4096

struct family {
	uint32_t id;
	UT_hash_handle hh;     /* tree->family_lock */
	struct mutex lock;     /* guards all below, and the family's record */
	uint64_t next_epoch;
	uint64_t next_ino;
	uint64_t reserved_ino; /* next_ino of the record: numbers below may be given out */
};

int family_get(struct tree *tree, uint32_t id, struct family **ret_family)
{
	struct small_key key = catalog_key_u32('F', id);
	struct family_record record;
	struct family *family;
	AUTO_BUF value = BUF_INIT;
	int r = 0;

	mutex_take(&tree->family_lock);
	HASH_FIND(hh, tree->families, &id, sizeof(id), family);
	if (!family) {
		r = kv_get(tree->kv, KV_CATALOG, key.bytes, key.len, &value);
		if (r == 0)
			r = family_record_decode(value.data, value.len, &record);
		if (r == 0) {
			family = xcalloc(1, sizeof(*family));
			*family = (struct family){.id = id, .next_epoch = record.next_epoch, .next_ino = record.next_ino};
			family->reserved_ino = record.next_ino;
			mutex_init(&family->lock, LOCK_FAMILY);
			HASH_ADD(hh, tree->families, id, sizeof(id), family);
		}
	}
	mutex_give(&tree->family_lock);
	if (r == 0)
		*ret_family = family;
	return r;
}

void families_free(struct tree *tree)
{
	struct family *family, *next;

	HASH_ITER(hh, tree->families, family, next) {
		HASH_DEL(tree->families, family);
		mutex_clear(&family->lock);
		free(family);
	}
}

static int write_record(struct tree *tree, struct family *family, uint64_t next_epoch, uint64_t next_ino, unsigned flags)
{
	struct small_key key = catalog_key_u32('F', family->id);
	struct family_record record = {.next_epoch = next_epoch, .next_ino = next_ino};
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF value = BUF_INIT;

	family_record_encode(&record, &value);
	kv_batch_put(batch, KV_CATALOG, key.bytes, key.len, value.data, value.len);

	int r = kv_write(tree->kv, batch, flags);

	kv_batch_free(batch);
	return r;
}

int family_next_ino(struct tree *tree, struct family *family, uint64_t *ret_ino)
{
	int r = 0;

	mutex_take(&family->lock);
	if (family->next_ino >= INO_MAX) {
		r = -ENOSPC;
	} else if (family->next_ino >= family->reserved_ino) {
		r = write_record(tree, family, family->next_epoch, family->reserved_ino + INO_STRIDE, KV_SYNC);
		if (r == 0)
			family->reserved_ino += INO_STRIDE;
	}
	if (r == 0)
		*ret_ino = family->next_ino++;
	mutex_give(&family->lock);
	return r;
}

int family_ino_end(struct tree *tree, uint32_t id, uint64_t *ret_end)
{
	struct family *family;
	int r = family_get(tree, id, &family);

	if (r < 0)
		return r;
	mutex_take(&family->lock);
	*ret_end = family->reserved_ino;
	mutex_give(&family->lock);
	return 0;
}

/*
 * The record is written here and not with the caller's batch. That is written later, and if numbers were reserved in between, the batch
 * would take that back. In the log the record comes before the batch, so it is at least as durable. If the batch is never written, a number
 * is skipped.
 */
int family_next_epoch(struct tree *tree, uint32_t id, struct kv_batch *batch, uint64_t *ret_epoch)
{
	struct family *family;
	int r = family_get(tree, id, &family);

	if (r < 0)
		return r;
	mutex_take(&family->lock);
	r = write_record(tree, family, family->next_epoch + 1, family->reserved_ino, 0);
	if (r == 0)
		*ret_epoch = family->next_epoch++;
	mutex_give(&family->lock);
	return r;
}
