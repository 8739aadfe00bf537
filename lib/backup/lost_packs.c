#include "lib/backup/lost_packs.h"

#include <errno.h>
#include <stdlib.h>

struct listed {
	struct blob_id id;
	uint64_t size;
};

struct search {
	const struct blob_index *index;
	ARRAY(struct listed) listed; /* sorted */
	uint64_t end; /* of the last blob of a pack, by the index */
	struct object_names *lost;
};

static int note_listed(void *arg, const char *name, uint64_t size)
{
	struct search *search = arg;
	struct listed listed = {.size = size};

	if (blob_id_parse(name, &listed.id) == 0)
		array_add(&search->listed, listed);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	return blob_id_compare(&((const struct listed *)a)->id, &((const struct listed *)b)->id);
}

static int note_end(void *arg, const struct blob_place *place)
{
	struct search *search = arg;

	search->end = MAX(search->end, (uint64_t)place->blob.offset + place->blob.length);
	return 0;
}

static int look_for(void *arg, const struct blob_id *pack)
{
	struct search *search = arg;
	const struct listed key = {.id = *pack}, *found = NULL;
	int r = 0;

	if (search->listed.count > 0)
		found = bsearch(&key, search->listed.items, search->listed.count, sizeof(key), by_id);
	search->end = 0;
	if (found)
		r = blob_index_each_of(search->index, pack, note_end, search);
	if (!found || search->end > found->size)
		array_add(search->lost, *pack);
	return r;
}

int lost_packs_find(struct repository *repository, struct object_names *ret_lost, struct error *err)
{
	struct search search = {.index = repository->index, .lost = ret_lost};
	int r = blob_index_packs(search.index) > 0 ? repository->objects->place->list(repository->objects, OBJECT_PACK, note_listed, &search) : 0;

	if (search.listed.count > 0)
		qsort(search.listed.items, search.listed.count, sizeof(*search.listed.items), by_id);
	if (r == 0)
		r = blob_index_each_pack(search.index, look_for, &search);
	array_clear(&search.listed);
	object_names_sort(ret_lost);
	return r < 0 ? objects_failed(repository->objects, r, "the packs of the repository cannot be listed", err) : 0;
}
