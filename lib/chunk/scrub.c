/*
 * Looking at all chunks that somebody needs, one after the other, in the order of their ids, which is the order on disk.
 *
 * They are read past the page cache: it may hold what the disk has changed since. Then it has the only good copy, which is stored anew before
 * it is gone, as any good copy that comes in (damaged.h, DL2).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/heal.h"
#include "lib/chunk/look_disk.h"
#include "lib/chunk/set.h"
#include "lib/chunk/twin.h"

/* Chunks that are read at once: about 2 MiB. */
#define RUN_MAX 32

void chunks_ends(struct chunks *chunks, uint64_t *ret_bulk_end, uint64_t *ret_small_end)
{
	*ret_bulk_end = ids_next(chunks->ids, true);
	*ret_small_end = ids_next(chunks->ids, false);
}

/* Stores anew what is in memory of a chunk that is in the damage list, if that is whole. */
static void save_from_memory(struct chunks *chunks, uint64_t id)
{
	struct chunk_header header;
	struct backend_record record;
	AUTO_FREE uint8_t *plain = NULL;
	size_t len = 0;
	int ret = backend_get(chunks->backend, id, &record);

	if (ret)
		return;
	ret = chunk_record_open(id, record.bytes, record.len, &header);
	if (!ret) {
		len = header.plain_len;
		plain = malloc(len);
	}
	if (plain && header.codec == CHUNK_CODEC_ZSTD)
		ret = chunk_record_unpack(chunks->scratch, &header, plain);
	else if (plain)
		memcpy(plain, header.stored, len);
	/* Before it writes: a database that damage has stopped is opened anew then, when nobody has anything of it. */
	backend_release(&record);
	if (!ret && plain)
		(void)!chunks_heal(chunks, &(struct heal_bytes){plain, len}, 1);
}

static int look(struct chunks *chunks, struct scratch *tools, uint64_t id, uint64_t *ret_bytes)
{
	const int ret = chunk_look_disk(chunks, tools, id, ret_bytes);

	if (ret == -EBADMSG) {
		damaged_add(chunks->damaged, id);
		save_from_memory(chunks, id);
	}
	return ret;
}

/* A chunk that is not there may have been removed since the set was made; all else is damage, even if something stands for it at once. */
static int note(struct chunks *chunks, uint64_t id, int ret)
{
	if (chunk_is_damage(ret) && ret != -ENOENT) {
		damaged_add(chunks->damaged, id);
		(void)twin_find(chunks, id);
	}
	return ret;
}

/* Members of the set in a row, each read itself. */
static size_t count_run(struct chunks *chunks, const struct chunk_set *set, uint64_t first, uint64_t end)
{
	size_t count = 0;

	while (count < RUN_MAX && first + count < end && chunk_set_has(set, first + count) &&
	       damaged_resolve(chunks->damaged, first + count) == first + count)
		count++;
	return count;
}

/* What is whole at the first look, which reads all at once. Of the others *bytes is 0. */
static void look_at_run(struct chunks *chunks, struct scratch *tools, uint64_t first, size_t count, uint64_t bytes[RUN_MAX])
{
	const bool ask = backend_may_be_removed(chunks->backend, first, count);
	struct kv_value values[RUN_MAX];

	(void)backend_get_many_disk(chunks->backend, first, count, &tools->raw, values);
	for (size_t i = 0; i < count; i++) {
		const struct kv_value *value = &values[i];
		const bool whole = value->data && !chunk_record_verify(chunks->scratch, first + i, value->data, value->len);

		bytes[i] = whole && !(ask && chunk_is_removed(chunks, first + i)) ? value->len : 0;
	}
}

static int scrub_run(struct chunks *chunks, struct scratch *tools, uint64_t first, size_t count, chunk_scrub_fn each, void *arg)
{
	uint64_t bytes[RUN_MAX];
	int ret = 0;

	look_at_run(chunks, tools, first, count, bytes);
	for (size_t i = 0; i < count && !ret; i++) {
		const int state = bytes[i] ? 0 : note(chunks, first + i, look(chunks, tools, first + i, &bytes[i]));

		ret = state && !chunk_is_damage(state) ? state : each(arg, first + i, bytes[i], state);
	}
	return ret;
}

/* A damaged chunk, for which another may be read. */
static int scrub_hurt(struct chunks *chunks, struct scratch *tools, uint64_t id, chunk_scrub_fn each, void *arg)
{
	const uint64_t read = damaged_resolve(chunks->damaged, id);
	uint64_t bytes = 0;
	const int state = note(chunks, read, look(chunks, tools, read, &bytes));

	return state && !chunk_is_damage(state) ? state : each(arg, id, bytes, state);
}

int chunks_scrub(struct chunks *chunks, const struct chunk_set *set, uint64_t first, uint64_t end, chunk_scrub_fn each, void *arg)
{
	struct scratch *tools = scratch_take(chunks->scratch);
	int ret = 0;

	for (uint64_t id = chunk_set_next_member(set, first, end); !ret && id < end;) {
		const size_t count = count_run(chunks, set, id, end);

		ret = count ? scrub_run(chunks, tools, id, count, each, arg) : scrub_hurt(chunks, tools, id, each, arg);
		id = chunk_set_next_member(set, id + MAX(count, 1U), end);
	}
	scratch_put(chunks->scratch, tools);
	return ret;
}
