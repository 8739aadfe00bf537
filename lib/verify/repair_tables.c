#include "lib/verify/repair_tables.h"

#include "lib/store/mend_tables.h"
#include "lib/verify/lost_chunks.h"

struct repair {
	kv_damaged_table_fn each;
	void *arg;
	struct rebuild_of of;
	bool records_lost;
	struct rebuilt *rebuilt;
};

static int take_table(void *arg, const struct kv_damaged_table *table)
{
	struct repair *repair = arg;

	if (table->family < KV_FAMILY_COUNT)
		repair->of.damaged[table->family] = true;
	repair->records_lost |= !kv_holds_chunks(table->family) && table->family != KV_TOUCHED && table->family != KV_DEDUP;
	lost_chunks_add(&repair->of.chunks, table);
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
