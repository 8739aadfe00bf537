#include "lib/tree/inodes/mark.h"

#include <errno.h>
#include <stdio.h>

#include "lib/format/key.h"

static _Thread_local struct mark current;

static struct small_key key_of(unsigned place)
{
	char name[32];

	snprintf(name, sizeof(name), "request.%u", place);
	return catalog_key_name('J', name);
}

void mark_set(const struct mark *mark)
{
	current = mark ? *mark : (struct mark){0};
}

void mark_add(struct kv_batch *batch)
{
	struct small_key key;
	AUTO_BUF value = BUF_INIT;

	if (!current.session)
		return;
	key = key_of(current.place);
	buf_add_le64(&value, current.session);
	buf_add_le64(&value, current.request);
	kv_batch_put(batch, KV_CATALOG, key.bytes, key.len, value.data, value.len);
}

int mark_read(struct kv *kv, unsigned place, struct mark *ret_mark)
{
	const struct small_key key = key_of(place);
	AUTO_BUF value = BUF_INIT;
	struct reader reader;
	struct mark mark = {.place = place};
	int result = kv_get(kv, KV_CATALOG, key.bytes, key.len, &value);

	if (result < 0)
		return result;
	reader = reader_over(value.data, value.len);
	mark.session = read_le64(&reader);
	mark.request = read_le64(&reader);
	if (reader.bad)
		return -ENOENT;
	*ret_mark = mark;
	return 0;
}
