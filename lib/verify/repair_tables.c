#include "lib/verify/repair_tables.h"

#include "lib/store/mend_tables.h"

struct repair {
	kv_damaged_table_fn each;
	void *arg;
	bool damaged[KV_FAMILY_COUNT];
	struct rebuilt *rebuilt;
};

static int take_table(void *arg, const struct kv_damaged_table *table)
{
	struct repair *repair = arg;

	if (table->family < KV_FAMILY_COUNT)
		repair->damaged[table->family] = true;
	return repair->each(repair->arg, table);
}

static int rebuild_all(void *arg, struct kv *kv)
{
	const struct repair *repair = arg;

	return rebuild(kv, repair->damaged, repair->rebuilt);
}

int repair_tables(const char *path, bool apply, kv_damaged_table_fn each, void *arg, struct repaired_tables *ret_repaired, struct error *err)
{
	struct repair repair = {.each = each, .arg = arg, .rebuilt = &ret_repaired->rebuilt};
	const struct store_mend_tables options = {.apply = apply, .each = take_table, .mended = rebuild_all, .arg = &repair};

	*ret_repaired = (struct repaired_tables){0};
	return store_mend_tables(path, &options, &ret_repaired->kept, &ret_repaired->lost, err);
}

void repaired_tables_clear(struct repaired_tables *repaired)
{
	free(repaired->kept);
	free(repaired->lost);
	rebuilt_clear(&repaired->rebuilt);
}
