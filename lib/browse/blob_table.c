#include "lib/browse/blob_table.h"

#define FIRST_SLOTS 1024U
#define FREE 0U           /* a segment: the slot was never used */
#define NOWHERE UINT32_MAX /* the same: no segment has this number */

struct blob_table {
	bool (*has_segment)(void *arg, uint32_t number);
	void *arg;
	struct blob_spot *slots;
	uint32_t count, used; /* count: a power of two */
};

struct blob_table *blob_table_new(bool (*has_segment)(void *arg, uint32_t number), void *arg)
{
	struct blob_table *table = xcalloc(1, sizeof(*table));

	table->has_segment = has_segment;
	table->arg = arg;
	table->count = FIRST_SLOTS;
	table->slots = xcalloc(FIRST_SLOTS, sizeof(*table->slots));
	return table;
}

void blob_table_free(struct blob_table *table)
{
	if (!table)
		return;
	free(table->slots);
	free(table);
}

static bool lives(const struct blob_table *table, const struct blob_spot *slot)
{
	return slot->segment != FREE && slot->segment != NOWHERE && table->has_segment(table->arg, slot->segment);
}

/* The slot of the key, or the free one where it would be. */
static struct blob_spot *slot_at(struct blob_table *table, uint64_t key, bool is_tree)
{
	uint32_t at = (uint32_t)key & (table->count - 1);

	while (table->slots[at].segment != FREE && (table->slots[at].key != key || is_tree != !!(table->slots[at].length & SEGMENT_TREE)))
		at = (at + 1) & (table->count - 1);
	return &table->slots[at];
}

static bool is_needed(const struct blob_table *table, const struct blob_spot *slot)
{
	return slot->pins > 0 || lives(table, slot);
}

static uint32_t count_needed(const struct blob_table *table)
{
	uint32_t needed = 0;

	for (uint32_t i = 0; i < table->count; i++)
		needed += is_needed(table, &table->slots[i]);
	return needed;
}

/* It may become smaller. */
static void make_anew(struct blob_table *table)
{
	struct blob_spot *old = table->slots;
	const uint32_t old_count = table->count;

	table->used = count_needed(table);
	table->count = FIRST_SLOTS;
	while (table->count / 2 <= table->used)
		table->count *= 2;
	table->slots = xcalloc(table->count, sizeof(*table->slots));
	for (uint32_t i = 0; i < old_count; i++)
		if (is_needed(table, &old[i]))
			*slot_at(table, old[i].key, old[i].length & SEGMENT_TREE) = old[i];
	free(old);
}

bool blob_table_find(struct blob_table *table, uint64_t key, bool is_tree, struct blob_spot *ret_spot)
{
	*ret_spot = *slot_at(table, key, is_tree);
	return lives(table, ret_spot);
}

/* The slot of the key, which will be used. */
static struct blob_spot *take_slot(struct blob_table *table, uint64_t key, bool is_tree)
{
	struct blob_spot *slot;

	if (table->used >= table->count / 4 * 3)
		make_anew(table);
	slot = slot_at(table, key, is_tree);
	table->used += slot->segment == FREE;
	return slot;
}

void blob_table_set(struct blob_table *table, const struct blob_spot *spot)
{
	struct blob_spot *slot = take_slot(table, spot->key, spot->length & SEGMENT_TREE);

	*slot = (struct blob_spot){spot->key, spot->segment, spot->offset, spot->length, slot->pins};
}

bool blob_table_forget(struct blob_table *table, const struct blob_spot *spot)
{
	struct blob_spot *slot = slot_at(table, spot->key, spot->length & SEGMENT_TREE);

	if (slot->segment != spot->segment || slot->offset != spot->offset)
		return false;
	slot->segment = NOWHERE;
	return true;
}

struct blob_spot blob_table_pin(struct blob_table *table, uint64_t key, uint32_t length)
{
	struct blob_spot *slot = take_slot(table, key, length & SEGMENT_TREE);

	if (slot->segment == FREE)
		*slot = (struct blob_spot){.key = key, .segment = NOWHERE, .length = length};
	slot->pins++;
	return *slot;
}

bool blob_table_unpin(struct blob_table *table, uint64_t key, bool is_tree, struct blob_spot *ret_spot)
{
	struct blob_spot *slot = slot_at(table, key, is_tree);

	if (slot->pins == 0)
		return false;
	slot->pins--;
	*ret_spot = *slot;
	return true;
}

void blob_table_unpin_all(struct blob_table *table)
{
	for (uint32_t i = 0; i < table->count; i++)
		table->slots[i].pins = 0;
}
