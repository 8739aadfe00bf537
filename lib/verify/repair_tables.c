#include "lib/verify/repair_tables.h"

#include <string.h>

#include "lib/store/mend_tables.h"

struct repair {
	kv_damaged_table_fn each;
	void *arg;
	struct rebuild_of of;
	bool records_lost;
	struct rebuilt *rebuilt;
};

/* Keys are shortened in the index of a table: what is missing of one may be anything. */
static uint64_t id_of(const uint8_t *key, size_t len, uint8_t fill)
{
	uint8_t whole[sizeof(uint64_t)];

	memset(whole, fill, sizeof(whole));
	memcpy(whole, key, MIN(len, sizeof(whole)));
	struct reader reader = reader_over(whole, sizeof(whole));
	return read_be64(&reader);
}

static int take_table(void *arg, const struct kv_damaged_table *table)
{
	struct repair *repair = arg;

	const bool is_content = table->family == KV_BULK || table->family == KV_SMALL;

	if (table->family < KV_FAMILY_COUNT)
		repair->of.damaged[table->family] = true;
	repair->records_lost |= !is_content && table->family != KV_TOUCHED && table->family != KV_DEDUP;
	for (size_t i = 0; i < table->range_count && is_content; i++) {
		const struct kv_key_range *range = &table->ranges[i];
		const uint64_t first = id_of(range->first, range->first_len, 0), last = id_of(range->last, range->last_len, UINT8_MAX);
		line_add(&repair->of.chunks, MIN(first, last), MAX(first, last));
	}
	return repair->each(repair->arg, table);
}

static int rebuild_all(void *arg, struct kv *kv)
{
	const struct repair *repair = arg;

	return rebuild(kv, &repair->of, repair->rebuilt);
}

int repair_tables(const char *path, bool apply, kv_damaged_table_fn each, void *arg, struct repaired_tables *ret_repaired, struct error *err)
{
	struct repair repair = {.each = each, .arg = arg, .rebuilt = &ret_repaired->rebuilt};
	const struct store_mend_tables options = {.apply = apply, .each = take_table, .mended = rebuild_all, .arg = &repair};

	*ret_repaired = (struct repaired_tables){0};
	int result = store_mend_tables(path, &options, &ret_repaired->kept, &ret_repaired->lost, err);
	ret_repaired->content_lost = apply ? ret_repaired->rebuilt.content_lost : repair.of.chunks.count > 0;
	ret_repaired->records_lost = repair.records_lost;
	line_clear(&repair.of.chunks);
	return result;
}

void repaired_tables_clear(struct repaired_tables *repaired)
{
	free(repaired->kept);
	free(repaired->lost);
	rebuilt_clear(&repaired->rebuilt);
}
