/*
 * No index leads from a chunk to the extents that name it. So all extents are walked, then all entries, for the names of the inodes that
 * were found; then each living view is asked which of these it sees.
 */
#include "lib/reclaim/chunk_references.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/tree/records/all_versions.h"
#include "lib/tree/records/paths.h"
#include "lib/tree/records/scan.h"

#define HITS_MAX 100000

/* A version of an extent that names the chunk. */
struct hit {
	uint32_t family;
	uint64_t ino, offset, epoch;
};

/* A version of an entry that stands for an inode with a hit. */
struct name {
	uint32_t family;
	uint64_t ino, dir;
	uint64_t epoch;
	char *text;
};

struct living_view {
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1];
	struct scan scan;
};

struct references {
	struct store *store;
	uint64_t chunk;
	ARRAY(struct hit) hits;
	ARRAY(struct name) names;
	ARRAY(struct living_view) views;
};

static void references_clear(struct references *references)
{
	for (size_t i = 0; i < references->names.count; i++)
		free(references->names.items[i].text);
	for (size_t i = 0; i < references->views.count; i++)
		scan_clear(&references->views.items[i].scan);
	array_clear(&references->names);
	array_clear(&references->hits);
	array_clear(&references->views);
}

/* --- collecting --- */

static int take_extent(struct references *references, const struct stored_version *version)
{
	const struct tree_key_parts *parts = &version->parts;
	struct extent_record extent;
	int result = extent_record_decode(version->value, version->len, &extent);

	if (result == 0 && extent.chunk == references->chunk && references->hits.count < HITS_MAX)
		array_add(&references->hits, (struct hit){parts->family, parts->ino, parts->offset, parts->epoch});
	return result;
}

/* Hits are in key order. */
static bool is_hit(const struct references *references, uint32_t family, uint64_t ino)
{
	const struct hit *hits = references->hits.items;
	size_t low = 0, high = references->hits.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (hits[middle].family < family || (hits[middle].family == family && hits[middle].ino < ino))
			low = middle + 1;
		else
			high = middle;
	}
	return low < references->hits.count && hits[low].family == family && hits[low].ino == ino;
}

static int take_entry(struct references *references, const struct stored_version *version)
{
	const struct tree_key_parts *parts = &version->parts;
	struct entry_record entry;
	int result = entry_record_decode(version->value, version->len, &entry);

	if (result == 0 && is_hit(references, parts->family, entry.ino))
		array_add(&references->names, (struct name){
						      .family = parts->family,
						      .ino = entry.ino,
						      .dir = parts->ino,
						      .epoch = parts->epoch,
						      .text = xasprintf("%.*s", (int)parts->name_len, parts->name),
					      });
	return result;
}

static int walk(struct references *references, enum key_kind kind,
		int (*take)(struct references *references, const struct stored_version *version))
{
	struct all_versions *all = all_versions_new(references->store->tree);
	struct stored_version version;
	int result = 0;

	while (result == 0 && (result = all_versions_next(all, &version)) > 0)
		result = version.parts.kind == kind && version.len > 0 ? take(references, &version) : 0;
	all_versions_free(all);
	return result;
}

static void add_view(struct references *references, const char *dataset, const char *snapshot, uint32_t family, const struct line *line)
{
	struct living_view *view = array_new(&references->views);

	snprintf(view->dataset, sizeof(view->dataset), "%s", dataset);
	snprintf(view->snapshot, sizeof(view->snapshot), "%s", snapshot);
	scan_of_line(&view->scan, references->store->tree, family, line);
}

static void collect_views(struct references *references)
{
	struct store *store = references->store;

	mutex_take(&store->catalog_lock);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		add_view(references, dataset->name, "", dataset->record.family, &dataset->record.line);
		for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
			add_view(references, dataset->name, snapshot->name, snapshot->record.family, &snapshot->record.line);
	}
	mutex_give(&store->catalog_lock);
}

/* --- telling --- */

/* 1 when the view sees just this version, 0 when not. */
static int sees(const struct living_view *view, const struct tree_key *stem, uint64_t epoch)
{
	uint64_t seen;
	int result = line_has(&view->scan.line, epoch) ? scan_epoch(&view->scan, stem, &seen) : -ENOENT;

	if (result == -ENOENT)
		return 0;
	return result < 0 ? result : seen == epoch;
}

struct telling {
	size_t left;
	chunk_reference_fn each;
	void *arg;
};

static int tell(struct telling *telling, const struct living_view *view, const char *path, uint64_t offset)
{
	telling->left--;
	return telling->each(telling->arg, view->dataset, view->snapshot, path, offset);
}

/* All names the view has for the file; "" for one without (unlinked while open). */
static int tell_names(const struct references *references, const struct living_view *view, const struct hit *hit, struct telling *telling)
{
	bool told = false;
	int result = 0;

	for (size_t i = 0; i < references->names.count && result == 0 && telling->left > 0; i++) {
		const struct name *name = &references->names.items[i];
		AUTO_FREE char *path = NULL;
		if (name->family != hit->family || name->ino != hit->ino)
			continue;
		struct tree_key stem = tree_stem_entry(name->family, name->dir, name->text);
		result = sees(view, &stem, name->epoch);
		if (result <= 0)
			continue;
		result = paths_join(&view->scan, name->dir, name->text, &path);
		if (result == 0)
			result = tell(telling, view, path, hit->offset);
		told = true;
	}
	if (result == 0 && !told)
		result = tell(telling, view, "", hit->offset);
	return result;
}

static int tell_hits(const struct references *references, struct telling *telling)
{
	int result = 0;

	for (size_t i = 0; i < references->hits.count; i++) {
		const struct hit *hit = &references->hits.items[i];
		struct tree_key stem = tree_stem_extent(hit->family, hit->ino, hit->offset);
		for (size_t k = 0; k < references->views.count && result == 0 && telling->left > 0; k++) {
			const struct living_view *view = &references->views.items[k];
			result = view->scan.family == hit->family ? sees(view, &stem, hit->epoch) : 0;
			if (result > 0)
				result = tell_names(references, view, hit, telling);
		}
		if (result != 0)
			return result;
	}
	return 0;
}

int chunk_references_find(struct store *store, uint64_t chunk, size_t limit, chunk_reference_fn each, void *arg, struct error *err)
{
	struct references references = {.store = store, .chunk = chunk};
	struct telling telling = {.left = limit, .each = each, .arg = arg};
	uint64_t bytes;
	int result = chunks_stored(store->chunks, chunk, &bytes);

	if (result == -ENOENT)
		return error_set(err, result, "there is no chunk %llu in the store", (unsigned long long)chunk);
	if (result == 0)
		result = walk(&references, KEY_EXTENT, take_extent);
	if (result == 0)
		result = walk(&references, KEY_ENTRY, take_entry);
	if (result == 0) {
		collect_views(&references);
		result = tell_hits(&references, &telling);
	}
	references_clear(&references);
	return result < 0 ? error_default(err, result, "cannot look for chunk %llu", (unsigned long long)chunk) : result;
}
