/*
 * Giving room back. RocksDB removes what was overwritten or deleted when it merges tables, and merges them for the sake of reading: in a small
 * database, or where nothing is written any more, dead records stay as long as the store lives. So the collector says when to merge.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/fault.h"
#include "lib/kv/damage.h"
#include "lib/kv/inside.h"

/* Merging is worth it when more than a fifth of the records are dead; a few may be. */
#define WASTE_SHARE 5
#define WASTE_MIN 1000
/* What a merge may need on the disk before its inputs go. */
#define ROOM_MIN (16ULL << 20)
#define FORCED 2 /* where nothing lies below, too */

static int merge(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len, uint64_t bytes)
{
	rocksdb_compactoptions_t *shared;
	int result = fault_point("kv-merge");

	if (result == 0)
		result = kv_admit(kv, true);
	if (result == 0)
		result = kv_admit_files(kv, 2 * bytes + ROOM_MIN);
	if (result < 0)
		return result;
	shared = rocksdb_compactoptions_create();
	/* The automatic compactions that keep writers from stalling must go on meanwhile. */
	rocksdb_compactoptions_set_exclusive_manual_compaction(shared, 0);
	if (kv_enter(kv)) {
		rocksdb_compact_range_cf_opt(kv->db, kv->handles[family], shared, first_len ? first : NULL, first_len, end_len ? end : NULL,
					     end_len);
		kv_leave(kv);
	}
	rocksdb_compactoptions_destroy(shared);
	ballast_files_end(kv->ballast);
	return 0;
}

int kv_write_anew(struct kv *kv, enum kv_family family, const struct kv_key_range *range)
{
	rocksdb_compactoptions_t *options;
	int result = kv_admit(kv, true);

	if (result < 0)
		return result;
	if (!kv_enter(kv))
		return -EIO;
	options = rocksdb_compactoptions_create();
	rocksdb_compactoptions_set_bottommost_level_compaction(options, FORCED);
	rocksdb_compact_range_cf_opt(kv->db, kv->handles[family], options, (const char *)range->first, range->first_len,
				     (const char *)range->last, range->last_len);
	rocksdb_compactoptions_destroy(options);
	kv_leave(kv);
	return 0;
}

int kv_compact_range(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len, uint64_t bytes)
{
	int result = damage_verify(kv, family, first, first_len, end, end_len);

	return result < 0 ? result : merge(kv, family, first, first_len, end, end_len, bytes);
}

/* --- families that are not chunks --- */

struct piece {
	uint8_t *first;
	size_t len;
	uint64_t bytes;
};

struct pieces {
	ARRAY_FIELDS(struct piece); /* those at the lowest level: the family is merged piece by piece */
	int level;
	uint64_t records, removals, bytes;
};

static void forget_pieces(struct pieces *pieces)
{
	for (size_t i = 0; i < pieces->count; i++)
		free(pieces->items[i].first);
	array_reset(pieces);
}

static int add_table(void *arg, const struct kv_table *table)
{
	struct pieces *pieces = arg;

	pieces->records += table->records;
	pieces->removals += table->removals;
	pieces->bytes += table->bytes;
	if (table->level < pieces->level)
		return 0;
	if (table->level > pieces->level)
		forget_pieces(pieces);
	pieces->level = table->level;
	struct piece *piece = array_new(pieces);
	piece->first = xmalloc(table->first_len + 1);
	memcpy(piece->first, table->first, table->first_len);
	piece->len = table->first_len;
	piece->bytes = table->bytes;
	return 0;
}

static int in_order(const void *a, const void *b)
{
	const struct piece *left = a, *right = b;
	return bytes_compare(left->first, left->len, right->first, right->len);
}

static bool is_wasteful(const struct pieces *pieces, uint64_t living)
{
	/* Without being told, each removal is taken to have hit a record that is still there. */
	if (living == KV_LIVING_UNKNOWN)
		living = pieces->records - MIN(pieces->records, pieces->removals);
	return pieces->records + pieces->removals > living + living / WASTE_SHARE + WASTE_MIN;
}

int kv_compact_waste(struct kv *kv, enum kv_family family, uint64_t living, bool (*stop)(void *arg), void *arg)
{
	struct pieces pieces = {.level = -1};
	int result = kv_each_table(kv, family, add_table, &pieces), refused = 0;

	if (result == 0 && pieces.count > 0 && is_wasteful(&pieces, living)) {
		result = damage_verify(kv, family, NULL, 0, NULL, 0);
		qsort(pieces.items, pieces.count, sizeof(*pieces.items), in_order);
		for (size_t i = 0; i < pieces.count && result == 0 && !stop(arg); i++) {
			const struct piece *piece = &pieces.items[i], *next = i + 1 < pieces.count ? piece + 1 : NULL;
			result = merge(kv, family, i > 0 ? piece->first : NULL, i > 0 ? piece->len : 0, next ? next->first : NULL,
						  next ? next->len : 0, piece->bytes);
			/* another one may take less room */
			if (result == -ENOSPC) {
				refused = result;
				result = 0;
			}
		}
	}
	forget_pieces(&pieces);
	array_clear(&pieces);
	return result < 0 ? result : refused;
}
