/*
 * No index leads from a chunk to the extents that name it. So all extents are walked, then all entries, for the names of the inodes that
 * were found; then each living view is asked which of these it sees. Memory grows with what is found, up to a bound.
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

/* A version of an extent that names one of the chunks. */
struct hit {
	uint32_t family, length;
	uint64_t ino, offset, epoch, chunk;
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
	const uint64_t *chunks;
	size_t count;
	bool cut_short; /* there are more hits than are kept */
	ARRAY(struct hit) hits;
	ARRAY(struct name) names; /* by family and inode, once all are there */
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

static bool is_asked(const struct references *references, uint64_t chunk)
{
	size_t low = 0, high = references->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (references->chunks[middle] < chunk)
			low = middle + 1;
		else
			high = middle;
	}
	return low < references->count && references->chunks[low] == chunk;
}

static int take_extent(struct references *references, const struct stored_version *version)
{
	const struct tree_key_parts *parts = &version->parts;
	struct extent_record extent;
	int result = extent_record_decode(version->value, version->len, &extent);

	if (result < 0 || !is_asked(references, extent.chunk))
		return result;
	if (references->hits.count < HITS_MAX)
		array_add(&references->hits,
			  (struct hit){parts->family, extent.length, parts->ino, parts->offset, parts->epoch, extent.chunk});
	else
		references->cut_short = true;
	return 0;
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

static int by_inode(const void *a, const void *b)
{
	const struct name *left = a, *right = b;

	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	return left->ino < right->ino ? -1 : left->ino > right->ino;
}

static int tell(struct telling *telling, const struct living_view *view, const char *path, const struct hit *hit)
{
	const struct chunk_reference reference = {view->dataset, view->snapshot, path, hit->offset, hit->length, hit->chunk};

	telling->left--;
	return telling->each(telling->arg, &reference);
}

/* The hits of an inode that the view sees, under one path. */
static int tell_path(const struct living_view *view, const struct hit *hits, size_t count, const char *path, struct telling *telling)
{
	int result = 0;

	for (size_t i = 0; i < count && result == 0 && telling->left > 0; i++) {
		struct tree_key stem = tree_stem_extent(hits[i].family, hits[i].ino, hits[i].offset);
		result = sees(view, &stem, hits[i].epoch);
		if (result > 0)
			result = tell(telling, view, path, &hits[i]);
	}
	return result;
}

/* All names the view has for the file; "" for one without (unlinked while open). */
static int tell_names(const struct references *references, const struct living_view *view, const struct hit *hits, size_t count,
		      struct telling *telling)
{
	const struct name *names = references->names.items, wanted = {.family = hits->family, .ino = hits->ino};
	const struct name *found = names ? bsearch(&wanted, names, references->names.count, sizeof(*names), by_inode) : NULL;
	size_t i = found ? (size_t)(found - names) : references->names.count;
	bool told = false;
	int result = 0;

	while (i > 0 && i < references->names.count && by_inode(&names[i - 1], &wanted) == 0)
		i--;
	for (; i < references->names.count && by_inode(&names[i], &wanted) == 0 && result == 0 && telling->left > 0; i++) {
		AUTO_FREE char *path = NULL;
		struct tree_key stem = tree_stem_entry(names[i].family, names[i].dir, names[i].text);
		result = sees(view, &stem, names[i].epoch);
		if (result <= 0)
			continue;
		result = paths_join(&view->scan, names[i].dir, names[i].text, &path);
		if (result == 0)
			result = tell_path(view, hits, count, path, telling);
		told = true;
	}
	if (result == 0 && !told)
		result = tell_path(view, hits, count, "", telling);
	return result;
}

/* Hits are in key order: those of an inode lie together. */
static int tell_hits(const struct references *references, struct telling *telling)
{
	const struct hit *hits = references->hits.items;
	int result = 0;

	for (size_t i = 0, next; i < references->hits.count && result == 0; i = next) {
		for (next = i + 1; next < references->hits.count && hits[next].family == hits[i].family && hits[next].ino == hits[i].ino; next++)
			;
		for (size_t k = 0; k < references->views.count && result == 0 && telling->left > 0; k++) {
			const struct living_view *view = &references->views.items[k];
			if (view->scan.family == hits[i].family)
				result = tell_names(references, view, &hits[i], next - i, telling);
		}
	}
	return result;
}

int chunk_references_find(struct store *store, const uint64_t *chunks, size_t count, size_t limit, chunk_reference_fn each, void *arg,
			  bool *ret_all, struct error *err)
{
	struct references references = {.store = store, .chunks = chunks, .count = count};
	struct telling telling = {.left = limit, .each = each, .arg = arg};
	int result = walk(&references, KEY_EXTENT, take_extent);

	if (result == 0 && references.hits.count > 0)
		result = walk(&references, KEY_ENTRY, take_entry);
	if (result == 0 && references.names.count > 0)
		qsort(references.names.items, references.names.count, sizeof(*references.names.items), by_inode);
	if (result == 0) {
		collect_views(&references);
		result = tell_hits(&references, &telling);
	}
	if (ret_all)
		*ret_all = telling.left > 0 && !references.cut_short;
	references_clear(&references);
	return result < 0 ? error_default(err, result, "cannot look for who has the chunks: %s", error_text(result)) : result;
}
