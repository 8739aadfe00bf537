/*
 * Reading goes two ways.
 *
 * A small piece of one chunk comes through the database and the page cache, and leaves the whole chunk decoded in the cache.
 *
 * A larger read takes neighbouring chunks with one exact read of the table file. The thread that was asked does it: handing a read of one
 * file over to other threads costs more than it saves. The bytes end up in the page cache of the mount, or in somebody's file, and need not
 * be in memory twice. So they are read past the page cache, unless they are there because they were written or warmed. What was read ahead
 * of a sequential reader is in buffers of ours (lib/chunk/ahead.h), and so is what was begun when a file was opened (lib/chunk/begun.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/twin.h"

/* Less is not worth a direct read. */
#define DIRECT_MIN (16U << 10)
/* A larger read is faster past the page cache, wherever its neighbours are. */
#define AHEAD_MAX (256U << 10)
/* What one thread reads and decodes of it. */
#define PART_BYTES (512U << 10)
#define PART_CHUNKS 64

static int load_entry(struct chunks *chunks, const struct chunk_header *header, struct cache_entry *entry)
{
	uint8_t *data = malloc(MAX(header->plain_len, 1));
	int ret = data ? chunk_record_unpack(chunks->scratch, header, data) : -ENOMEM;

	if (ret) {
		free(data);
		cache_fail(chunks->cache, entry, ret);
		return ret;
	}
	cache_fill(chunks->cache, entry, data, header->plain_len);
	return 0;
}

static int copy_out(struct chunks *chunks, struct cache_entry *entry, uint32_t offset, uint32_t len, void *out)
{
	uint32_t data_len;
	const uint8_t *data = cache_data(entry, &data_len);
	int ret = offset > data_len || len > data_len - offset ? -EBADMSG : 0;

	if (!ret)
		memcpy(out, data + offset, len);
	cache_release(chunks->cache, entry);
	return ret;
}

static int read_packed(struct chunks *chunks, uint64_t id, const struct chunk_header *header, uint32_t offset, uint32_t len,
                       void *out)
{
	struct cache_entry *entry;
	bool mine;
	int ret;

	/* nobody will read another part of the chunk soon */
	if (!offset && len == header->plain_len)
		return chunk_record_unpack(chunks->scratch, header, out);
	entry = cache_claim(chunks->cache, id, &mine);
	ret = mine ? load_entry(chunks, header, entry) : cache_error(entry);
	if (!ret)
		return copy_out(chunks, entry, offset, len, out);
	cache_release(chunks->cache, entry);
	return ret;
}

static int read_record(struct chunks *chunks, uint64_t id, const uint8_t *value, size_t value_len, uint32_t offset, uint32_t len,
                       void *out)
{
	struct chunk_header header;
	int ret = chunk_record_open(id, value, value_len, &header);

	if (ret)
		return ret;
	if (offset > header.plain_len || len > header.plain_len - offset)
		return -ERANGE;
	if (header.codec == CHUNK_CODEC_ZSTD)
		return read_packed(chunks, id, &header, offset, len, out);
	memcpy(out, header.stored + offset, len);
	return 0;
}

static int read_stored(struct chunks *chunks, uint64_t id, uint32_t offset, uint32_t len, void *out)
{
	struct backend_record record;
	int ret;

	ret = backend_get(chunks->backend, id, &record);
	if (!ret) {
		ret = read_record(chunks, id, record.bytes, record.len, offset, len, out);
		backend_release(&record);
	}
	return ret;
}

int chunks_read(struct chunks *chunks, uint64_t id, uint32_t offset, uint32_t len, void *out)
{
	struct cache_entry *entry = cache_find(chunks->cache, id);
	const uint64_t asked = id;
	int ret;

	if (entry)
		return copy_out(chunks, entry, offset, len, out) ? -EIO : 0;
	id = damaged_resolve(chunks->damaged, id);
	ret = read_stored(chunks, id, offset, len, out);
	/* a chunk that is not there may have been removed, and who reads it will look again where it is */
	if (chunk_is_damage(ret) && ret != -ENOENT) {
		uint64_t twin;

		damaged_add(chunks->damaged, id);
		twin = twin_find(chunks, id);
		if (twin != CHUNK_NONE)
			ret = read_stored(chunks, twin, offset, len, out);
	}
	/* where what stands for it is damaged, it may be whole itself again */
	if (chunk_is_damage(ret) && id != asked && !chunks_verify_disk(chunks, asked))
		ret = read_stored(chunks, asked, offset, len, out);
	return !ret || ret == -ENOMEM ? ret : -EIO;
}

/* --- several at once --- */

struct part {
	size_t first, count; /* wants of ascending neighbours */
	uint64_t bytes;
};

struct reading {
	struct chunks *chunks;
	const struct chunk_want *wants;
	struct part *parts;
	size_t part_count;
	uint64_t bytes; /* of all wants */
	atomic_int result;
};

static int read_want(struct chunks *chunks, const struct chunk_want *want)
{
	return chunks_read(chunks, want->chunk, want->offset, want->length, want->out);
}

/* The chunk is decoded already if the read before took its first half. */
static bool take_cached(struct chunks *chunks, const struct chunk_want *want)
{
	struct cache_entry *entry = cache_find(chunks->cache, want->chunk);

	return entry && copy_out(chunks, entry, want->offset, want->length, want->out) == 0;
}

/* Verifies and copies the records of neighbours, wherever they come from. */
static int read_values(struct chunks *chunks, const struct chunk_want *wants, size_t count, const struct kv_value *values)
{
	int ret = 0;

	for (size_t i = 0; i < count && !ret; i++) {
		const struct chunk_want *want = &wants[i];

		ret = values[i].data ? read_record(chunks, want->chunk, values[i].data, values[i].len, want->offset, want->length, want->out)
				     : -ENOENT;
		/* It moved meanwhile, or is not what it should be: the database has the last word. */
		if (ret)
			ret = read_want(chunks, want);
	}
	return ret;
}

/* Takes from the first on what was read ahead. *ret_taken: how many that were. */
static int read_from_ahead(struct chunks *chunks, const struct chunk_want *wants, size_t count, size_t *ret_taken)
{
	struct ahead_taken taken;
	int ret = 0;

	*ret_taken = ahead_take(chunks->ahead, wants->chunk, count, &taken);
	if (*ret_taken) {
		ret = read_values(chunks, wants, *ret_taken, taken.values);
		ahead_put(chunks->ahead, &taken);
	}
	return ret;
}

/* The same of what was begun when the file was opened. */
static int read_from_begun(struct chunks *chunks, const struct chunk_want *wants, size_t count, size_t *ret_taken)
{
	struct begun_taken taken;
	int ret = 0;

	*ret_taken = begun_take(chunks->begun, wants->chunk, count, &taken);
	if (*ret_taken) {
		ret = read_values(chunks, wants, *ret_taken, taken.values);
		begun_put(chunks->begun, &taken);
	}
	return ret;
}

static int read_neighbours(struct chunks *chunks, const struct chunk_want *wants, size_t count, bool follow)
{
	struct kv_value values[PART_CHUNKS];
	struct scratch *tools;
	size_t taken = 0;
	int ret = 0;

	while (count && take_cached(chunks, wants)) {
		wants++;
		count--;
	}
	if (count && follow)
		ahead_note(chunks->ahead, wants->chunk, (uint32_t)count);
	for (; count && !ret; wants += taken, count -= taken) {
		ret = read_from_ahead(chunks, wants, count, &taken);
		if (!taken)
			ret = read_from_begun(chunks, wants, count, &taken);
		if (!taken)
			break;
	}
	if (!count || ret)
		return ret;
	tools = scratch_take(chunks->scratch);
	(void)backend_get_many(chunks->backend, wants->chunk, count, &tools->raw, values);
	ret = read_values(chunks, wants, count, values);
	scratch_put(chunks->scratch, tools);
	return ret;
}

static void read_part(void *arg, size_t index)
{
	struct reading *reading = arg;
	const struct part *part = &reading->parts[index];
	const struct chunk_want *wants = reading->wants + part->first;
	int ret = 0, none = 0;

	if (part->bytes >= DIRECT_MIN && (wants->chunk & CHUNK_BULK)) {
		ret = read_neighbours(reading->chunks, wants, part->count, reading->bytes < AHEAD_MAX);
	} else {
		for (size_t i = 0; i < part->count && !ret; i++)
			ret = read_want(reading->chunks, &wants[i]);
	}
	if (ret)
		atomic_compare_exchange_strong(&reading->result, &none, ret);
}

static void add_want(struct reading *reading, size_t index)
{
	const struct chunk_want *want = &reading->wants[index];
	struct part *part = reading->part_count ? &reading->parts[reading->part_count - 1] : NULL;

	if (!part || want->chunk != want[-1].chunk + 1 || part->count == PART_CHUNKS || part->bytes >= PART_BYTES) {
		part = &reading->parts[reading->part_count++];
		*part = (struct part){.first = index};
	}
	part->count++;
	part->bytes += want->length;
}

int chunks_read_many(struct chunks *chunks, const struct chunk_want *wants, size_t count)
{
	struct reading reading = {.chunks = chunks, .wants = wants};

	reading.parts = xcalloc(count + 1, sizeof(*reading.parts));
	for (size_t i = 0; i < count; i++)
		reading.bytes += wants[i].length;
	for (size_t i = 0; i < count; i++)
		add_want(&reading, i);
	pool_run(chunks->pool, read_part, &reading, reading.part_count);
	free(reading.parts);
	return atomic_load(&reading.result);
}

void chunks_begin_read(struct chunks *chunks, uint64_t first, size_t count)
{
	if ((first & CHUNK_BULK) && count > 0 && count <= BEGUN_CHUNKS && !ahead_has(chunks->ahead, first))
		begun_start(chunks->begun, first, (uint32_t)count);
}
