#include "lib/store/digests.h"

#include <errno.h>

#include "lib/store/catalog_records.h"

/* So many steps forward before a seek is cheaper. */
#define NEAR_STEPS 8

struct digests {
	struct kv_iter *iter;
	uint32_t family;
	const struct line *line;
};

/* The range of all records of a family: [first, end). */
static struct kv_iter *iterate(struct kv *kv, uint32_t family, uint64_t first_ino)
{
	struct small_key first = catalog_key_digest(family, first_ino, UINT64_MAX);
	struct small_key end = catalog_key_digest(family, UINT64_MAX, UINT64_MAX);

	return catalog_record_iterate(kv, &first, &end);
}

struct digests *digests_new(struct kv *kv, uint32_t family, const struct line *line)
{
	struct digests *digests = xcalloc(1, sizeof(*digests));

	digests->iter = iterate(kv, family, 0);
	digests->family = family;
	digests->line = line;
	return digests;
}

void digests_free(struct digests *digests)
{
	if (!digests)
		return;
	kv_iter_free(digests->iter);
	free(digests);
}

static int current(const struct kv_iter *iter, uint64_t *ret_ino, uint64_t *ret_epoch)
{
	uint32_t family;
	size_t len;
	const uint8_t *key = kv_iter_key(iter, &len);

	return catalog_key_digest_parse(key, len, &family, ret_ino, ret_epoch);
}

/* To the first record of the inode, or of a later one; -ENOENT at the end. */
static int find_inode(struct digests *digests, uint64_t ino)
{
	struct small_key key = catalog_key_digest(digests->family, ino, UINT64_MAX);
	uint64_t at = UINT64_MAX, epoch;

	/* The cursor may stand inside an inode's records: only from an earlier inode is the way forward complete. */
	for (unsigned i = 0; i <= NEAR_STEPS && kv_iter_valid(digests->iter); i++) {
		int result = current(digests->iter, &at, &epoch);
		if (result < 0)
			return result;
		if (at >= ino)
			break;
		kv_iter_next(digests->iter);
		if (kv_iter_valid(digests->iter) && current(digests->iter, &at, &epoch) == 0 && at >= ino)
			return 0;
	}
	kv_iter_seek(digests->iter, key.bytes, key.len);
	if (kv_iter_valid(digests->iter))
		return 0;
	int result = kv_iter_status(digests->iter);
	return result < 0 ? result : -ENOENT;
}

int digests_newest(struct digests *digests, uint64_t ino, struct digest_record *ret_record, uint64_t *ret_epoch)
{
	int result = find_inode(digests, ino);
	uint64_t at, epoch;

	for (; result == 0 && kv_iter_valid(digests->iter); kv_iter_next(digests->iter)) {
		size_t len;
		result = current(digests->iter, &at, &epoch);
		if (result < 0 || at != ino)
			break;
		if (!line_has(digests->line, epoch))
			continue;
		const uint8_t *value = kv_iter_value(digests->iter, &len);
		result = digest_record_decode(value, len, ret_record);
		if (result == 0)
			*ret_epoch = epoch;
		return result;
	}
	if (result == 0)
		result = kv_iter_status(digests->iter);
	return result < 0 ? result : -ENOENT;
}

void digests_put(struct kv_batch *batch, uint32_t family, uint64_t ino, uint64_t epoch, const struct digest_record *record)
{
	struct small_key key = catalog_key_digest(family, ino, epoch);
	AUTO_BUF value = BUF_INIT;

	digest_record_encode(record, &value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void digests_remove(struct kv_batch *batch, uint32_t family, uint64_t ino, uint64_t epoch)
{
	struct small_key key = catalog_key_digest(family, ino, epoch);

	catalog_record_delete(batch, &key);
}

int digests_each(struct kv *kv, uint32_t family, uint64_t from, int (*each)(void *arg, uint64_t ino, uint64_t epoch), void *arg)
{
	struct kv_iter *iter = iterate(kv, family, from);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		uint64_t ino, epoch;
		result = current(iter, &ino, &epoch);
		if (result == 0)
			result = each(arg, ino, epoch);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}
