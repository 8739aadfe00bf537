#include "lib/verify/check_chunks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/chunk/chunks.h"
#include "lib/store/catalog.h"

#define SHA256_LEN 32

/* Under chunk, kind, and what else makes it one of its own: of what names the chunk. */
enum { NAMED_BY_EXTENT, NAMED_BY_INDEX };

struct extent_named {
	uint32_t view, chunk_len; /* a view by its number */
	uint64_t ino, offset;
};

int check_chunks_note(struct check_family *family, uint64_t ino, uint64_t offset, const struct extent_record *extent, uint64_t place)
{
	const struct extent_named named = {family->viewers.items[place].number, extent->chunk_len, ino, offset};
	AUTO_BUF key = BUF_INIT;

	if (extent->chunk == CHUNK_NONE)
		return 0;
	buf_add_be64(&key, extent->chunk);
	buf_add_u8(&key, NAMED_BY_EXTENT);
	buf_add_be32(&key, family->family);
	buf_add_be64(&key, ino);
	buf_add_be64(&key, offset);
	return spill_put(family->chunks, key.data, key.len, &named, sizeof(named));
}

/* --- the index --- */

static int note_entry(struct check_report *report, struct spill *chunks, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	const struct check_where where = {.rule = 14};
	struct dedup_record record;
	AUTO_BUF named = BUF_INIT;

	if (key_len != SHA256_LEN || dedup_record_decode(value, len, &record) < 0 || !chunk_id_valid(record.chunk))
		return check_found(report, &where, "an entry of the index of equal content cannot be understood");
	buf_add_be64(&named, record.chunk);
	buf_add_u8(&named, NAMED_BY_INDEX);
	buf_add(&named, key, key_len);
	return spill_put(chunks, named.data, named.len, &record.length, sizeof(record.length));
}

static int note_index(struct store *store, struct check_report *report, struct spill *chunks)
{
	struct kv_iter *iter = kv_iter_new_flags(store_kv(store), KV_DEDUP, NULL, 0, NULL, 0, KV_ITER_SCAN);
	int result = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter) && result == 0; kv_iter_next(iter)) {
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &len);
		result = note_entry(report, chunks, key, key_len, value, len);
		if (result == 0)
			result = check_record(report);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

/* --- what is stored --- */

struct looking {
	struct store *store;
	struct check_report *report;
	uint64_t chunk; /* that was looked at last */
	int stored;     /* 0, -ENOENT; others: nothing can be told, a scrub does */
	uint32_t len;   /* plain bytes */
	uint8_t sha256[SHA256_LEN];
};

static void look(struct looking *looking, uint64_t chunk)
{
	struct chunks *chunks = store_chunks(looking->store);
	uint64_t bytes;

	looking->chunk = chunk;
	looking->stored = chunks_stored(chunks, chunk, &bytes);
	if (looking->stored == 0)
		looking->stored = chunks_digest(chunks, chunk, &looking->len, looking->sha256);
}

static struct check_where where_extent(struct store *store, const struct extent_named *named, char dataset[NAME_LEN_MAX + 1],
				       char snapshot[NAME_LEN_MAX + 1])
{
	dataset[0] = snapshot[0] = 0;
	mutex_take(&store->catalog_lock);
	const struct snapshot *seen = catalog_snapshot_by_view(store, named->view);
	const struct dataset *head = seen ? seen->dataset : catalog_dataset_by_view(store, named->view);
	if (head)
		snprintf(dataset, NAME_LEN_MAX + 1, "%s", head->name);
	if (seen)
		snprintf(snapshot, NAME_LEN_MAX + 1, "%s", seen->name);
	mutex_give(&store->catalog_lock);
	return (struct check_where){.rule = 5, .dataset = dataset, .snapshot = snapshot, .ino = named->ino};
}

/* K5. A file may be gone since, and its chunks, but not one that a view sees. */
static bool is_named_still(struct store *store, uint32_t family, const struct extent_named *named, uint64_t chunk)
{
	const struct tree_key stem = tree_stem_extent(family, named->ino, named->offset), end = tree_prefix_end(stem);
	struct all_versions *all = all_versions_between(store_tree(store), &stem, &end);
	struct stored_version version;
	struct extent_record extent;
	bool found = false;

	while (!found && all_versions_next(all, &version) > 0)
		found = version.len > 0 && extent_record_decode(version.value, version.len, &extent) == 0 && extent.chunk == chunk;
	all_versions_free(all);
	return found;
}

static int check_extent(struct looking *looking, uint32_t family, const struct extent_named *named)
{
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1];

	if (looking->stored == 0 && looking->len == named->chunk_len)
		return 0;
	if ((looking->stored != 0 && looking->stored != -ENOENT) || !is_named_still(looking->store, family, named, looking->chunk))
		return 0;
	const struct check_where where = where_extent(looking->store, named, dataset, snapshot);
	if (looking->stored == -ENOENT)
		return check_found(looking->report, &where, "the content from %llu on is missing: there is no chunk 0x%llx", (count)named->offset,
				   (count)looking->chunk);
	return check_found(looking->report, &where, "the content from %llu on is of chunk 0x%llx, which has %u bytes instead of %u",
			   (count)named->offset, (count)looking->chunk, looking->len, named->chunk_len);
}

/* K14. An entry that names nothing is no harm: whoever finds it looks (lib/chunk/hits.c). */
static int check_entry(const struct looking *looking, const uint8_t *sha256, uint32_t len)
{
	const struct check_where where = {.rule = 14};

	if (looking->stored != 0 || (looking->len == len && memcmp(looking->sha256, sha256, SHA256_LEN) == 0))
		return 0;
	const int still = kv_has(store_kv(looking->store), KV_DEDUP, sha256, SHA256_LEN);
	if (still < 0)
		return still == -ENOENT ? 0 : still;
	return check_found(looking->report, &where, "equal content is said to be in chunk 0x%llx, which has other content",
			   (count)looking->chunk);
}

static int check_named(void *arg, const struct spill_item *item)
{
	struct reader reader = reader_over(item->key, item->key_len);
	struct looking *looking = arg;
	const uint64_t chunk = read_be64(&reader);
	struct extent_named named;
	uint32_t len;
	int result;

	if (chunk != looking->chunk)
		look(looking, chunk);
	if (read_u8(&reader) == NAMED_BY_EXTENT) {
		memcpy(&named, item->value, sizeof(named));
		result = check_extent(looking, read_be32(&reader), &named);
	} else {
		memcpy(&len, item->value, sizeof(len));
		result = check_entry(looking, read_bytes(&reader, SHA256_LEN), len);
	}
	return result == 0 ? check_record(looking->report) : result;
}

int check_chunks(struct store *store, struct check_report *report, struct spill *chunks)
{
	struct looking looking = {.store = store, .report = report, .chunk = CHUNK_NONE};
	int result = note_index(store, report, chunks);

	return result == 0 ? spill_each(chunks, check_named, &looking) : result;
}
