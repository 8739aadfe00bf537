#include "lib/repository/blob_set.h"

#define FIRST_SLOTS 64U

void blob_set_clear(struct blob_set *set)
{
	array_clear(&set->items);
	free(set->slots);
	*set = (struct blob_set){0};
}

/* The slot that has the blob, or the free one that it would take. Ids are as good as random. */
static uint32_t find(const struct blob_set *set, const struct blob_id *id, bool is_tree)
{
	const uint32_t mask = set->slot_count - 1;
	uint32_t slot;

	memcpy(&slot, id->bytes, sizeof(slot));
	for (slot &= mask; set->slots[slot]; slot = (slot + 1) & mask) {
		const struct blob_set_item *item = &set->items.items[set->slots[slot] - 1];

		if (item->is_tree == is_tree && blob_id_equal(&item->id, id))
			break;
	}
	return slot;
}

bool blob_set_has(const struct blob_set *set, const struct blob_id *id, bool is_tree)
{
	return set->slot_count > 0 && set->slots[find(set, id, is_tree)] != 0;
}

static void grow(struct blob_set *set)
{
	free(set->slots);
	set->slot_count = set->slot_count > 0 ? set->slot_count * 2 : FIRST_SLOTS;
	set->slots = xcalloc(set->slot_count, sizeof(*set->slots));
	for (size_t i = 0; i < set->items.count; i++)
		set->slots[find(set, &set->items.items[i].id, set->items.items[i].is_tree)] = (uint32_t)i + 1;
}

bool blob_set_put(struct blob_set *set, const struct blob_id *id, bool is_tree)
{
	uint32_t slot;

	if (set->items.count >= set->slot_count / 4 * 3)
		grow(set);
	slot = find(set, id, is_tree);
	if (set->slots[slot])
		return false;
	array_add(&set->items, (struct blob_set_item){*id, is_tree});
	set->slots[slot] = (uint32_t)set->items.count;
	return true;
}
