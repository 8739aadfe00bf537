/*
 * What is put first goes into memory: items in one arena, found by a hash table of their places. When that is full, its items are sorted
 * and become a run in the file. Later runs hide what earlier ones have under the same key. As soon as there are RUNS_OF_A_LEVEL runs of one
 * level, which stand side by side, they are merged into one of the next level. So an item is written a few times at most, and a look-up
 * reads one block each of a few runs.
 */
#include "lib/base/spill.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/spill_run.h"

#define RUNS_OF_A_LEVEL 8
#define SLOTS_MIN 64
#define RUNS_MAX 64 /* read side by side; eight levels hold more than any disk */

/* The part that is in memory. */
struct recent {
	struct buf arena;
	uint32_t *slots; /* places in the arena + 1; 0: free */
	size_t slot_count, count;
};

struct spill {
	size_t memory;
	struct recent recent;
	int fd; /* -1: nothing was too much yet */
	uint64_t file_end;
	ARRAY(struct run) runs; /* the oldest first */
};

/* --- in memory --- */

static uint64_t hash_of(const void *key, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)key)[i]) * 0x100000001b3ULL;
	return hash ^ hash >> 29;
}

static struct spill_item recent_item(const struct recent *recent, uint32_t place)
{
	struct spill_item item = {0};

	(void)item_at(recent->arena.data + place, recent->arena.len - place, &item);
	return item;
}

/* The slot of the key, or the free one where it would be. */
static uint32_t *slot_of(const struct recent *recent, const void *key, size_t key_len)
{
	for (size_t i = hash_of(key, key_len) & (recent->slot_count - 1);; i = (i + 1) & (recent->slot_count - 1)) {
		if (recent->slots[i] == 0)
			return &recent->slots[i];
		struct spill_item item = recent_item(recent, recent->slots[i] - 1);
		if (item.key_len == key_len && memcmp(item.key, key, key_len) == 0)
			return &recent->slots[i];
	}
}

static void grow_slots(struct recent *recent)
{
	struct recent grown = {.arena = recent->arena, .slot_count = MAX(recent->slot_count * 2, (size_t)SLOTS_MIN)};

	grown.slots = xcalloc(grown.slot_count, sizeof(*grown.slots));
	for (size_t i = 0; i < recent->slot_count; i++) {
		if (recent->slots[i] == 0)
			continue;
		struct spill_item item = recent_item(recent, recent->slots[i] - 1);
		*slot_of(&grown, item.key, item.key_len) = recent->slots[i];
	}
	free(recent->slots);
	recent->slots = grown.slots;
	recent->slot_count = grown.slot_count;
}

static void recent_put(struct recent *recent, const struct spill_item *item)
{
	uint32_t *slot;

	if ((recent->count + 1) * 3 > recent->slot_count * 2)
		grow_slots(recent);
	slot = slot_of(recent, item->key, item->key_len);
	recent->count += *slot == 0;
	*slot = (uint32_t)recent->arena.len + 1;
	item_add(&recent->arena, item);
}

static void recent_clear(struct recent *recent)
{
	buf_clear(&recent->arena);
	free(recent->slots);
	*recent = (struct recent){0};
}

static size_t recent_memory(const struct recent *recent)
{
	return recent->arena.len + recent->slot_count * sizeof(*recent->slots);
}

static int by_key(const void *a, const void *b, void *arg)
{
	struct spill_item left = recent_item(arg, *(const uint32_t *)a), right = recent_item(arg, *(const uint32_t *)b);

	return item_compare(&left, &right);
}

/* Places of all items, by their keys; freed by the caller. */
static uint32_t *recent_sorted(const struct recent *recent)
{
	uint32_t *places = xcalloc(recent->count + 1, sizeof(*places));
	size_t count = 0;

	for (size_t i = 0; i < recent->slot_count; i++)
		if (recent->slots[i] != 0)
			places[count++] = recent->slots[i] - 1;
	qsort_r(places, count, sizeof(*places), by_key, (void *)recent);
	return places;
}

/* --- in the file --- */

static int open_file(struct spill *spill)
{
	const char *places[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
	int result = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(places) && spill->fd < 0; i++) {
		if (!places[i] || !*places[i])
			continue;
		spill->fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		result = -errno;
		if (spill->fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
			continue;
		AUTO_FREE char *name = xasprintf("%s/corpusfs-XXXXXX", places[i]);
		spill->fd = mkostemp(name, O_CLOEXEC);
		result = -errno;
		if (spill->fd >= 0)
			unlink(name);
	}
	return spill->fd >= 0 ? 0 : result;
}

static int write_recent(struct spill *spill)
{
	AUTO_FREE uint32_t *places = recent_sorted(&spill->recent);
	struct run_writer writer;
	struct run run;
	int result = spill->fd >= 0 ? 0 : open_file(spill);

	run_writer_init(&writer, spill->fd, spill->file_end, 0);
	for (size_t i = 0; i < spill->recent.count && result == 0; i++) {
		struct spill_item item = recent_item(&spill->recent, places[i]);
		result = run_writer_add(&writer, &item);
	}
	if (result == 0)
		result = run_writer_end(&writer, &run);
	else
		run_writer_clear(&writer);
	if (result < 0)
		return result;
	spill->file_end = run.end;
	array_add(&spill->runs, run);
	recent_clear(&spill->recent);
	return 0;
}

/* --- several runs as one --- */

struct merged {
	struct run_reader readers[RUNS_MAX];
	struct spill_item items[RUNS_MAX];
	bool at_end[RUNS_MAX];
	size_t count, last; /* last: whose item was given */
};

static int advance(struct merged *merged, size_t i)
{
	int result = run_reader_next(&merged->readers[i], &merged->items[i]);

	merged->at_end[i] = result == 0;
	return MIN(result, 0);
}

static void merged_clear(struct merged *merged)
{
	for (size_t i = 0; i < merged->count; i++)
		run_reader_clear(&merged->readers[i]);
}

static int merged_init(struct merged *merged, const struct run *runs, size_t count)
{
	int result = count <= RUNS_MAX ? 0 : -EOVERFLOW;

	*merged = (struct merged){.last = SIZE_MAX};
	for (size_t i = 0; i < count && result == 0; i++) {
		run_reader_init(&merged->readers[merged->count++], &runs[i]);
		result = advance(merged, i);
	}
	return result;
}

/* Goes past the last item and those that it hides. */
static int forget_last(struct merged *merged)
{
	size_t last = merged->last;
	int result = 0;

	if (last == SIZE_MAX)
		return 0;
	for (size_t i = 0; i < merged->count && result == 0; i++)
		if (i != last && !merged->at_end[i] && item_compare(&merged->items[i], &merged->items[last]) == 0)
			result = advance(merged, i);
	return result < 0 ? result : advance(merged, last);
}

static int merged_next(struct merged *merged, struct spill_item *ret_item)
{
	size_t least = SIZE_MAX;
	int result = forget_last(merged);

	for (size_t i = 0; i < merged->count && result == 0; i++)
		/* of equal ones that of the newest run, which stands last */
		if (!merged->at_end[i] && (least == SIZE_MAX || item_compare(&merged->items[i], &merged->items[least]) <= 0))
			least = i;
	merged->last = least;
	if (result < 0 || least == SIZE_MAX)
		return result;
	*ret_item = merged->items[least];
	return 1;
}

/* Makes one run of the last `count`. Their place in the file is given back where the filesystem can do that. */
static int merge_last(struct spill *spill, size_t count)
{
	struct run *runs = spill->runs.items + spill->runs.count - count;
	uint64_t from = runs[0].offset, until = spill->file_end;
	struct merged merged;
	struct run_writer writer;
	struct spill_item item;
	struct run run;
	int result = merged_init(&merged, runs, count);

	run_writer_init(&writer, spill->fd, spill->file_end, runs[0].level + 1);
	while (result == 0 && (result = merged_next(&merged, &item)) == 1)
		result = run_writer_add(&writer, &item);
	if (result == 0)
		result = run_writer_end(&writer, &run);
	else
		run_writer_clear(&writer);
	merged_clear(&merged);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		run_clear(&runs[i]);
	array_remove(&spill->runs, spill->runs.count - count, count);
	spill->file_end = run.end;
	array_add(&spill->runs, run);
	(void)!fallocate(spill->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(until - from));
	return 0;
}

static int merge_full_levels(struct spill *spill)
{
	int result = 0;

	while (result == 0) {
		size_t same = 0;
		while (same < spill->runs.count &&
		       spill->runs.items[spill->runs.count - 1 - same].level == array_last(&spill->runs)->level)
			same++;
		if (same < RUNS_OF_A_LEVEL)
			break;
		result = merge_last(spill, same);
	}
	return result;
}

/* --- the map --- */

struct spill *spill_new(size_t memory)
{
	struct spill *spill = xcalloc(1, sizeof(*spill));

	spill->memory = MIN(memory, (size_t)1 << 30);
	spill->fd = -1;
	return spill;
}

void spill_free(struct spill *spill)
{
	if (!spill)
		return;
	for (size_t i = 0; i < spill->runs.count; i++)
		run_clear(&spill->runs.items[i]);
	array_clear(&spill->runs);
	recent_clear(&spill->recent);
	if (spill->fd >= 0)
		close(spill->fd);
	free(spill);
}

int spill_put(struct spill *spill, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct spill_item item = {.key = key, .key_len = key_len, .value = value, .value_len = value_len};
	int result;

	if (key_len > ITEM_MAX || value_len > ITEM_MAX - key_len)
		return -EMSGSIZE;
	recent_put(&spill->recent, &item);
	if (recent_memory(&spill->recent) <= spill->memory)
		return 0;
	result = write_recent(spill);
	return result < 0 ? result : merge_full_levels(spill);
}

int spill_get(struct spill *spill, const void *key, size_t key_len, struct buf *value)
{
	int result = -ENOENT;

	if (spill->recent.count > 0) {
		uint32_t slot = *slot_of(&spill->recent, key, key_len);
		if (slot != 0) {
			struct spill_item item = recent_item(&spill->recent, slot - 1);
			if (value)
				buf_add(value, item.value, item.value_len);
			return 0;
		}
	}
	for (size_t i = spill->runs.count; i-- > 0 && result == -ENOENT;)
		result = run_get(&spill->runs.items[i], key, key_len, value);
	return result;
}

/* Over what is in memory when there is nothing else, over the runs otherwise. */
struct spill_iter {
	const struct recent *recent;
	uint32_t *places;
	size_t at;
	struct merged merged;
};

int spill_iter_new(struct spill *spill, struct spill_iter **ret_iter)
{
	struct spill_iter *iter = xcalloc(1, sizeof(*iter));
	int result = 0;

	if (spill->runs.count == 0) {
		iter->recent = &spill->recent;
		iter->places = recent_sorted(&spill->recent);
	} else {
		if (spill->recent.count > 0)
			result = write_recent(spill);
		if (result == 0)
			result = merged_init(&iter->merged, spill->runs.items, spill->runs.count);
	}
	if (result < 0) {
		spill_iter_free(iter);
		return result;
	}
	*ret_iter = iter;
	return 0;
}

void spill_iter_free(struct spill_iter *iter)
{
	if (!iter)
		return;
	merged_clear(&iter->merged);
	free(iter->places);
	free(iter);
}

int spill_iter_next(struct spill_iter *iter, struct spill_item *ret_item)
{
	if (!iter->recent)
		return merged_next(&iter->merged, ret_item);
	if (iter->at == iter->recent->count)
		return 0;
	*ret_item = recent_item(iter->recent, iter->places[iter->at++]);
	return 1;
}

int spill_each(struct spill *spill, spill_fn each, void *arg)
{
	struct spill_iter *iter = NULL;
	struct spill_item item;
	int result = spill_iter_new(spill, &iter);

	while (result == 0 && (result = spill_iter_next(iter, &item)) == 1)
		result = each(arg, &item);
	spill_iter_free(iter);
	return result;
}

/* --- sets of numbers --- */

int spill_add(struct spill *spill, uint64_t number)
{
	uint64_t key = htobe64(number);

	return spill_put(spill, &key, sizeof(key), "", 0);
}

int spill_has(struct spill *spill, uint64_t number)
{
	uint64_t key = htobe64(number);
	int result = spill_get(spill, &key, sizeof(key), NULL);

	return result == 0 ? 1 : result == -ENOENT ? 0 : result;
}

uint64_t spill_number(const uint8_t *key)
{
	uint64_t number;

	memcpy(&number, key, sizeof(number));
	return be64toh(number);
}
