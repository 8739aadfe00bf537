#include "lib/history/diff_cursor.h"

#include <string.h>

#define BATCH 256

static int add_name(void *arg, const char *name, const struct entry_record *entry)
{
	struct scan_list *list = arg;

	array_add(list, (struct scan_name){.ino = entry->ino, .type = entry->type});
	buf_add(&list->names, name, strlen(name) + 1);
	return list->count == BATCH ? 1 : 0;
}

static int read_batch(struct cursor *cursor, const char *after)
{
	struct scan_list batch = {0};
	int result = scan_entries(cursor->scan, cursor->dir, after, add_name, &batch);

	/* `after` may lie in the batch before. */
	scan_list_clear(&cursor->batch);
	cursor->batch = batch;
	cursor->at = 0;
	if (result < 0)
		return result;
	cursor->complete = result == 0;
	const char *name = (const char *)batch.names.data;
	for (size_t i = 0; i < batch.count; name += strlen(name) + 1)
		cursor->batch.items[i++].name = name;
	return 0;
}

int cursor_open(struct cursor *cursor, const struct scan *scan, uint64_t dir, const char *after)
{
	*cursor = (struct cursor){.scan = scan, .dir = dir};
	return read_batch(cursor, after);
}

void cursor_close(struct cursor *cursor)
{
	scan_list_clear(&cursor->batch);
	*cursor = (struct cursor){.complete = true};
}

const struct scan_name *cursor_at(const struct cursor *cursor)
{
	return cursor->at < cursor->batch.count ? &cursor->batch.items[cursor->at] : NULL;
}

int cursor_skip(struct cursor *cursor, const char *name)
{
	int result = 0;

	while (result == 0 && cursor_at(cursor) && strcmp(cursor_at(cursor)->name, name) <= 0)
		if (++cursor->at == cursor->batch.count && !cursor->complete)
			result = read_batch(cursor, array_last(&cursor->batch)->name);
	return result;
}
