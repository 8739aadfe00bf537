#include "lib/backup/backup_base.h"

#include <errno.h>
#include <stdio.h>

/* --- which one --- */

static const struct snapshot_file *newest(const struct snapshot_files *snapshots, const char *dataset_tag, const char *type_tag)
{
	for (size_t i = snapshots->count; i-- > 0;) {
		const struct snapshot_file *snapshot = &snapshots->items[i];

		if (snapshot_file_has_tag(snapshot, dataset_tag) && (!type_tag || snapshot_file_has_tag(snapshot, type_tag)) &&
		    !snapshot_file_has_tag(snapshot, "incomplete"))
			return snapshot;
	}
	return NULL;
}

/* Only blobs of these packs. */
struct choice {
	const struct blob_id *packs;
	size_t count;
	struct blob_index *index;
	struct blob_id pack;
	struct pack_blobs blobs; /* of the pack */
};

static int compare_ids(const void *a, const void *b)
{
	return blob_id_compare(a, b);
}

static void end_pack(struct choice *choice)
{
	if (choice->blobs.count > 0)
		blob_index_add(choice->index, &choice->pack, choice->blobs.items, choice->blobs.count);
	array_reset(&choice->blobs);
}

static int choose(void *arg, const struct blob_place *place)
{
	struct choice *choice = arg;

	if (choice->blobs.count > 0 && !blob_id_equal(&choice->pack, &place->pack))
		end_pack(choice);
	if (choice->count == 0 || !bsearch(&place->pack, choice->packs, choice->count, sizeof(*choice->packs), compare_ids))
		return 0;
	choice->pack = place->pack;
	array_add(&choice->blobs, place->blob);
	return 0;
}

/* The blobs of the packs that the full backup wrote. */
static int know_packs_of(struct backup_base *base, const struct repository *repository, const json_t *info)
{
	const json_t *list = json_object_get(info, "packs"), *entry;
	ARRAY(struct blob_id) packs = {0};
	struct choice choice = {.index = blob_index_new()};
	size_t i;
	int r;

	json_array_foreach(list, i, entry) {
		const char *text = json_string_value(entry);
		struct blob_id id;

		if (text && blob_id_parse(text, &id) == 0)
			array_add(&packs, id);
	}
	if (packs.count > 0)
		qsort(packs.items, packs.count, sizeof(*packs.items), compare_ids);
	choice.packs = packs.items;
	choice.count = packs.count;
	r = blob_index_each(repository->index, choose, &choice);
	end_pack(&choice);
	array_clear(&choice.blobs);
	array_clear(&packs);
	base->known = choice.index;
	return r;
}

static int take_base(struct backup_base *base, struct repository *repository, const struct snapshot_file *found, bool only_its_packs,
		     struct error *err)
{
	struct repository_reader *reader = repository_reader_new(repository);
	const char *full, *full_snapshot;
	json_t *info = NULL;
	int r = snapshot_file_read(repository, found->name, &base->snapshot, err);

	if (r == 0)
		r = backup_info_read(reader, &base->snapshot, &info, err);
	repository_reader_free(reader);
	if (r < 0)
		return r;
	full = json_string_value(json_object_get(info, "full"));
	full_snapshot = json_string_value(json_object_get(info, full ? "full_snapshot" : "snapshot"));
	(void)snprintf(base->full, sizeof(base->full), "%s", full ? full : found->name);
	base->full_snapshot = xstrdup_or_null(full_snapshot);
	exact_paths_read(&base->exact, info);
	base->exists = true;
	if (only_its_packs)
		r = know_packs_of(base, repository, info);
	json_decref(info);
	return r;
}

int backup_base_find(struct backup_base *base, struct repository *repository, enum backup_type type, bool share, const char *dataset_tag,
		     struct error *err)
{
	struct snapshot_files snapshots = {0};
	const struct snapshot_file *found = NULL;
	int r = 0;

	*base = (struct backup_base){0};
	if (type != BACKUP_FULL) {
		r = snapshot_files_read(repository, true, &snapshots, err);
		found = r == 0 ? newest(&snapshots, dataset_tag, type == BACKUP_DIFFERENTIAL ? "type=full" : NULL) : NULL;
	}
	if (r == 0 && type != BACKUP_FULL && !found && !(type == BACKUP_INCREMENTAL && share)) {
		r = error_set(err, -ENOENT, "there is no %s backup of the dataset in the repository", type == BACKUP_DIFFERENTIAL ? "full" : "earlier");
		error_hint(err, "make one first, with --type full");
	}
	if (r == 0)
		r = repository_load_index(repository, false, err);
	if (r == 0 && found)
		r = take_base(base, repository, found, type == BACKUP_DIFFERENTIAL, err);
	snapshot_files_clear(&snapshots);
	if (r < 0)
		return r;
	if (type == BACKUP_INCREMENTAL || (type == BACKUP_FULL && share)) {
		base->known = repository->index;
		base->known_is_repository = true;
	}
	if (!base->known)
		base->known = blob_index_new();
	return 0;
}

/* --- what changed --- */

static bool is_snapshot_of_then(const struct backup_base *base, struct store *store, struct view *view, uint32_t *ret_view)
{
	const char *of = snapshot_file_tag_value(&base->snapshot, "view");
	struct timespec taken;
	unsigned long number;
	char *end;

	if (!of)
		return false;
	number = strtoul(of, &end, 10);
	if (*end || number == 0 || number > UINT32_MAX || snapshot_taken(store, (uint32_t)number, &taken) < 0)
		return false;
	/* A store that was put back from a copy may have given the number to another one. */
	if (taken.tv_sec != base->snapshot.time.tv_sec || taken.tv_nsec != base->snapshot.time.tv_nsec)
		return false;
	*ret_view = (uint32_t)number;
	return true;
}

int backup_base_compare(struct backup_base *base, struct store *store, struct view *view)
{
	struct diff_sides sides = {.chunks = store_chunks(store), .one_family = true, .by_touched = true};
	static const struct diff_options options = {0};
	uint32_t number;
	int r;

	if (!base->exists || !is_snapshot_of_then(base, store, view, &number) || store_view_by_number(store, number, &base->view) < 0)
		return 0;
	if (view_family(base->view) != view_family(view))
		return 0;
	scan_of_view(&base->then, base->view);
	scan_of_view(&base->now, view);
	sides.a = base->then;
	sides.b = base->now;
	sides.options = &options;
	base->has_changes = true;
	r = diff_touched_read(&sides, DIFF_MEMORY, &base->touched);
	return r;
}

int backup_base_is_touched(struct backup_base *base, uint64_t ino, bool is_dir)
{
	int r;

	if (!base->has_changes)
		return 1;
	r = spill_has(is_dir ? base->touched.way_b : base->touched.files, ino);
	if (r == 1 && !is_dir)
		base->met++;
	return r;
}

bool backup_base_met_all(const struct backup_base *base)
{
	return !base->has_changes || base->met == base->touched.names;
}

void backup_base_forget_changes(struct backup_base *base)
{
	if (!base->has_changes)
		return;
	diff_touched_clear(&base->touched);
	scan_clear(&base->then);
	scan_clear(&base->now);
	base->has_changes = false;
}

void backup_base_clear(struct backup_base *base, struct store *store)
{
	backup_base_forget_changes(base);
	if (base->view)
		store_view_put(store, base->view);
	if (base->known && !base->known_is_repository)
		blob_index_free(base->known);
	exact_paths_clear(&base->exact);
	free(base->full_snapshot);
	snapshot_file_clear(&base->snapshot);
	*base = (struct backup_base){0};
}
