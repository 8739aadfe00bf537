#include "lib/chunk/removed.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/format/key.h"
#include "lib/format/record.h"

#define BLOCK 1024ULL

struct removed {
	pthread_mutex_t lock; /* guards all below */
	struct line ids;
};

static void note(struct removed *removed, uint64_t first, uint64_t last)
{
	line_add(&removed->ids, first & ~(BLOCK - 1), last | (BLOCK - 1));
}

/* Of a table that is not known nothing is believed. */
static int note_table(void *arg, const struct kv_table *table)
{
	uint64_t first, last;
	int ret;

	if (!table->removals && table->records)
		return 0;
	ret = chunk_key_parse(table->first, table->first_len, &first);
	if (!ret)
		ret = chunk_key_parse(table->last, table->last_len, &last);
	if (!ret)
		note(arg, first, MAX(first, last));
	return ret;
}

/* Who only reads keeps the log in memory, where no table tells of it. */
struct removed *removed_new(struct kv *kv)
{
	struct removed *removed = xcalloc(1, sizeof(*removed));

	pthread_mutex_init(&removed->lock, NULL);
	if (kv_read_only(kv) || kv_each_table(kv, KV_BULK, note_table, removed) || kv_each_table(kv, KV_SMALL, note_table, removed))
		note(removed, 0, UINT64_MAX);
	return removed;
}

void removed_free(struct removed *removed)
{
	if (!removed)
		return;
	pthread_mutex_destroy(&removed->lock);
	line_clear(&removed->ids);
	free(removed);
}

void removed_note(struct removed *removed, uint64_t first, uint64_t last)
{
	pthread_mutex_lock(&removed->lock);
	note(removed, first, last);
	pthread_mutex_unlock(&removed->lock);
}

bool removed_may_have(struct removed *removed, uint64_t first, size_t count)
{
	bool may_have = false;

	pthread_mutex_lock(&removed->lock);
	for (uint64_t id = first; id < first + count && !may_have; id = (id | (BLOCK - 1)) + 1)
		may_have = line_has(&removed->ids, id);
	pthread_mutex_unlock(&removed->lock);
	return may_have;
}
