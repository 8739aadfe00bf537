/*
 * A piece that the store has already becomes a reference to its chunk. From then on the chunk is all there is of it: the bytes that came in
 * are thrown away. So the chunk is read first, every time, and must have a true checksum and the right identity. What is not there is
 * stored anew, and stands for the damaged chunk (damaged.h). So is what is in the list of damaged chunks, even if it can be read: it may be
 * whole in memory only.
 *
 * Reading past the database is faster, but also finds what was removed and is gone with the next merge. So it is done only where nothing was.
 *
 * Why every time, and not a sample, or only what was not read for long: a disk may have changed a chunk a moment ago, whoever copies a data
 * set in again does it because something is damaged, and it costs little. Measured with 1 GiB of noise that was in the store already, on
 * 2 processors with a disk of 1.2 GB/s: import took 1.0-1.25 s without this and takes 1.2-1.7 s while the store is in the page cache; 1.3 and
 * 1.5-2.2 s when neither the source nor the store is.
 */
#include "lib/chunk/hits.h"

#include <errno.h>
#include <string.h>

#include "lib/chunk/chunk_record.h"
#include "lib/chunk/hurt.h"

/* Less is not worth a read of several chunks at once. */
#define MANY_MIN (16U << 10)
#define RUN_MAX 64
/* One step of the pool takes so many slices: about 2 MiB, since larger reads are faster. */
#define STEP_SLICES 8

static bool is_hit(const struct item *item)
{
	return !item->twin && !item->is_new;
}

/* 1: the record is true, but of other content: the index is wrong. */
static int check_record(const struct item *item, const uint8_t *record, size_t len)
{
	struct chunk_header header;
	int ret = chunk_record_open(item->id, record, len, &header);

	if (ret)
		return ret;
	return header.plain_len == item->length && !memcmp(header.sha256, item->sha256, DIGEST_LEN) ? 0 : 1;
}

/* Whether the item is stored to stand for the chunk: not where that is of other content, as far as can be told. */
static bool is_to_heal(struct chunks *chunks, const struct item *item, bool is_listed, int ret)
{
	if (!ret)
		return is_listed;
	return ret < 0 && (is_listed || chunk_is_damage(ret)) && hurt_may_be(chunks, item->id, item->sha256, item->length);
}

/*
 * The database's word. A chunk of other content is nobody's to heal: it is as it was, and the item is stored anew. So it is where the
 * machine is short of something, which tells nothing of the chunk.
 */
static void check_item(struct chunks *chunks, struct item *item, bool is_listed)
{
	struct backend_record record;
	int ret = backend_get(chunks->backend, item->id, &record);

	if (!ret) {
		ret = check_record(item, record.bytes, record.len);
		backend_release(&record);
	}
	item->unsound = is_to_heal(chunks, item, is_listed, ret);
	item->is_new = ret && !item->unsound;
	if (chunk_is_damage(ret))
		damaged_add(chunks->damaged, item->id);
}

/* `count` items whose ids follow one another. */
static void check_run(struct chunks *chunks, struct item *items, size_t count, uint64_t bytes)
{
	struct kv_value values[RUN_MAX] = {0};
	struct scratch *tools = NULL;

	if (bytes >= MANY_MIN && (items->id & CHUNK_BULK) && !backend_may_be_removed(chunks->backend, items->id, count)) {
		tools = scratch_take(chunks->scratch);
		(void)backend_get_many(chunks->backend, items->id, count, &tools->raw, values);
	}
	for (size_t i = 0; i < count; i++) {
		const bool is_listed = damaged_any(chunks->damaged) && damaged_get(chunks->damaged, items[i].id, &(struct damage_record){0});

		if (is_listed || !values[i].data || check_record(&items[i], values[i].data, values[i].len))
			check_item(chunks, &items[i], is_listed);
	}
	if (tools)
		scratch_put(chunks->scratch, tools);
}

static void verify_step(void *arg, size_t index)
{
	struct chunks_group *group = arg;
	const size_t end = group->slices.at[MIN((index + 1) * STEP_SLICES, group->slices.count)];

	for (size_t i = group->slices.at[index * STEP_SLICES]; i < end;) {
		struct item *first = &group->items[i];
		uint64_t bytes = first->length;
		size_t count = 1;

		if (!is_hit(first)) {
			i++;
			continue;
		}
		for (; count < RUN_MAX && i + count < end && is_hit(&first[count]) && first[count].id == first->id + count; count++)
			bytes += first[count].length;
		check_run(group->chunks, first, count, bytes);
		i += count;
	}
}

void hits_verify(struct chunks_group *group)
{
	bool any = false;

	for (size_t i = 0; i < group->item_count && !any; i++)
		any = is_hit(&group->items[i]);
	if (any)
		pool_run(group->chunks->pool, verify_step, group, (group->slices.count + STEP_SLICES - 1) / STEP_SLICES);
}
