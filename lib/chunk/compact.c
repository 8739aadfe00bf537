/*
 * Giving back the room of chunks that were removed. A removal only notes that a record is gone; the record stays in its table until the table
 * is written anew. Which tables are worth it is told by the set of the mark: how many of their ids are still needed.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/array.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/set.h"

/* A table is written anew when more than an eighth of its records are dead; a few may be. */
#define WASTE_SHARE 8
#define WASTE_MIN 16
/* Writing one anew moves records to others, which are looked at again. */
#define ROUNDS 6

struct tables {
	ARRAY_FIELDS(struct backend_table);
	uint64_t first, last, records;
};

static int add_table(void *arg, const struct backend_table *table)
{
	struct tables *tables = arg;

	tables->first = tables->count ? MIN(tables->first, table->first) : table->first;
	tables->last = tables->count ? MAX(tables->last, table->last) : table->last;
	tables->records += table->records;
	array_add(tables, *table);
	return 0;
}

static bool is_wasteful(const struct chunk_set *set, uint64_t first, uint64_t last, uint64_t records)
{
	uint64_t living = chunk_set_count(set, first, last + 1);

	return records > living + living / WASTE_SHARE + WASTE_MIN;
}

/* What the table holds is written anew so far as it lives: on a full disk, where all of it is dead, that takes no room. */
static uint64_t living_bytes(const struct chunk_set *set, const struct backend_table *table)
{
	uint64_t living = chunk_set_count(set, table->first, table->last + 1);

	return table->records > living ? table->bytes / table->records * living : table->bytes;
}

static int by_first(const void *a, const void *b)
{
	const struct backend_table *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

/* What is damaged stays where it is; for what has no room now, another may make some. */
static int passed_over(int result, bool *refused)
{
	*refused |= result == -ENOSPC;
	return result == -EBADMSG || result == -ENOSPC ? 0 : result;
}

static int compact_all(struct chunks *chunks, const struct chunk_set *set, const struct tables *tables, bool (*stop)(void *arg), void *arg, bool *refused)
{
	int ret = 0;

	for (size_t i = 0; i < tables->count && !ret && !stop(arg); i++) {
		const struct backend_table *table = &tables->items[i];
		uint64_t last = i + 1 < tables->count ? table[1].first - 1 : tables->last;

		if (last >= table->first)
			ret = passed_over(backend_compact(chunks->backend, table->first, last, living_bytes(set, table)), refused);
	}
	return ret;
}

/* 1: some were written anew; 0: none needs it, or there is no room for those that do (`refused`); or -errno. */
static int compact_tables(struct chunks *chunks, const struct chunk_set *set, struct tables *tables, bool (*stop)(void *arg), void *arg, bool *refused)
{
	size_t done = 0;
	int ret = 0;

	if (tables->count == 0 || !is_wasteful(set, tables->first, tables->last, tables->records))
		return 0;
	qsort(tables->items, tables->count, sizeof(*tables->items), by_first);
	for (size_t i = 0; i < tables->count && !ret && !stop(arg); i++) {
		const struct backend_table *table = &tables->items[i];

		if (!is_wasteful(set, table->first, table->last, table->records))
			continue;
		ret = backend_compact(chunks->backend, table->first, table->last, living_bytes(set, table));
		done += !ret;
		ret = passed_over(ret, refused);
	}
	/* Tables whose ids overlap may hide what is dead in them from one another. */
	if (!ret && !done && !*refused)
		return compact_all(chunks, set, tables, stop, arg, refused);
	return ret ? ret : done > 0;
}

static int compact_kind(struct chunks *chunks, const struct chunk_set *set, bool bulk, bool (*stop)(void *arg), void *arg, uint64_t *records)
{
	bool refused = false;
	int ret = 1;

	for (unsigned round = 0; round < ROUNDS && ret > 0 && !stop(arg); round++) {
		struct tables tables = {0};

		refused = false;
		ret = backend_each_table(chunks->backend, bulk, add_table, &tables);
		if (!ret)
			ret = compact_tables(chunks, set, &tables, stop, arg, &refused);
		if (!ret)
			*records += tables.records;
		array_clear(&tables);
	}
	return ret < 0 ? ret : refused ? -ENOSPC : 0;
}

int chunks_compact(struct chunks *chunks, const struct chunk_set *set, bool (*stop)(void *arg), void *arg)
{
	uint64_t records = 0;
	bool refused = false;
	int ret = passed_over(compact_kind(chunks, set, true, stop, arg, &records), &refused);

	if (!ret)
		ret = passed_over(compact_kind(chunks, set, false, stop, arg, &records), &refused);
	if (!ret && !stop(arg))
		ret = passed_over(dedup_compact(chunks->kv, records, stop, arg), &refused);
	return ret < 0 ? ret : refused ? -ENOSPC : 0;
}
