/*
 * Who keeps a chunk alive. Nothing is indexed by chunk, so the extents are walked; then the entries, for the names of the inodes found;
 * then each living view is asked which of both it sees.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/reclaim/gc.h"
#include "lib/reclaim/visibility.h"
#include "lib/tree/records/version.h"

#define HITS_MAX 100000
#define DEPTH_MAX 4096

struct hit {
	uint32_t family;
	uint64_t ino, offset, epoch;
};

struct name {
	uint32_t family;
	uint64_t ino, dir;
	uint64_t epoch;
	char *text;
};

/* A living view, as it is called. */
struct reader_view {
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1];
	uint32_t family;
	struct line line;
};

struct why {
	struct store *store;
	uint64_t chunk;
	struct hit *hits;
	struct name *names;
	struct reader_view *views;
	size_t hit_count, hit_cap, name_count, name_cap, view_count;
};

static void why_clear(struct why *why)
{
	for (size_t i = 0; i < why->name_count; i++)
		free(why->names[i].text);
	for (size_t i = 0; i < why->view_count; i++)
		line_clear(&why->views[i].line);
	free(why->names);
	free(why->hits);
	free(why->views);
}

/* --- collecting --- */

static int take_extent(struct why *why, const struct tree_key_parts *parts, const uint8_t *value, size_t len)
{
	struct extent_record extent;
	int result = extent_record_decode(value, len, &extent);

	if (result < 0 || extent.chunk != why->chunk || why->hit_count == HITS_MAX)
		return result;
	if (why->hit_count == why->hit_cap) {
		why->hit_cap = MAX(why->hit_cap * 2, 16U);
		why->hits = xrealloc(why->hits, why->hit_cap * sizeof(*why->hits));
	}
	why->hits[why->hit_count++] =
		(struct hit){.family = parts->family, .ino = parts->ino, .offset = parts->offset, .epoch = parts->epoch};
	return 0;
}

/* Hits are in key order. */
static bool is_hit(const struct why *why, uint32_t family, uint64_t ino)
{
	size_t low = 0, high = why->hit_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct hit *hit = &why->hits[middle];
		if (hit->family < family || (hit->family == family && hit->ino < ino))
			low = middle + 1;
		else
			high = middle;
	}
	return low < why->hit_count && why->hits[low].family == family && why->hits[low].ino == ino;
}

static int take_entry(struct why *why, const struct tree_key_parts *parts, const uint8_t *value, size_t len)
{
	struct entry_record entry;
	int result = entry_record_decode(value, len, &entry);

	if (result < 0 || !is_hit(why, parts->family, entry.ino))
		return result;
	if (why->name_count == why->name_cap) {
		why->name_cap = MAX(why->name_cap * 2, 16U);
		why->names = xrealloc(why->names, why->name_cap * sizeof(*why->names));
	}
	why->names[why->name_count++] = (struct name){
		.family = parts->family,
		.ino = entry.ino,
		.dir = parts->ino,
		.epoch = parts->epoch,
		.text = xasprintf("%.*s", (int)parts->name_len, parts->name),
	};
	return 0;
}

static int walk(struct why *why, enum key_kind kind,
		int (*take)(struct why *why, const struct tree_key_parts *parts, const uint8_t *value, size_t len))
{
	struct kv_iter *iter = kv_iter_new_flags(why->store->kv, KV_TREE, NULL, 0, NULL, 0, KV_ITER_SCAN);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len);
		const uint8_t *value = kv_iter_value(iter, &len);
		struct tree_key_parts parts;
		result = tree_key_parse(key, key_len, &parts);
		if (result == 0 && parts.kind == kind && len > 0)
			result = take(why, &parts, value, len);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

static void add_view(struct why *why, const char *dataset, const char *snapshot, uint32_t family, const struct line *line)
{
	struct reader_view *view = &why->views[why->view_count++];

	snprintf(view->dataset, sizeof(view->dataset), "%s", dataset);
	snprintf(view->snapshot, sizeof(view->snapshot), "%s", snapshot);
	view->family = family;
	view->line = line_copy(line);
}

static void collect_views(struct why *why)
{
	struct store *store = why->store;

	pthread_mutex_lock(&store->catalog_lock);
	size_t count = HASH_CNT(by_name, store->datasets) + HASH_CNT(by_view, store->by_view);
	why->views = xcalloc(MAX(count, 1U), sizeof(*why->views));
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		add_view(why, dataset->name, "", dataset->record.family, &dataset->record.line);
		for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
			add_view(why, dataset->name, snapshot->name, snapshot->record.family, &snapshot->record.line);
	}
	pthread_mutex_unlock(&store->catalog_lock);
}

/* --- telling --- */

/* 1 when the view sees just this version, 0 when not. */
static int sees(struct why *why, const struct reader_view *view, const struct tree_key *stem, uint64_t epoch)
{
	uint64_t seen;
	int result = line_has(&view->line, epoch) ? version_get(why->store->kv, &view->line, stem, NULL, &seen) : -ENOENT;

	if (result == -ENOENT)
		return 0;
	return result < 0 ? result : seen == epoch;
}

/* The directory's name in its parent, which is found in its record. -ENOENT when it has none (or is the root: ret_parent 0). */
static int name_directory(struct why *why, const struct reader_view *view, uint64_t dir, struct buf *name, uint64_t *ret_parent)
{
	struct tree_key stem = tree_stem_inode(view->family, dir);
	AUTO_BUF value = BUF_INIT;
	struct inode_record record;
	int result = version_get(why->store->kv, &view->line, &stem, &value, NULL);

	if (result == 0)
		result = inode_record_decode(value.data, value.len, &record);
	if (result < 0)
		return result;
	struct tree_key first = tree_prefix_kind(view->family, record.parent, KEY_ENTRY), end = tree_prefix_end(first);
	struct version_iter *iter = version_iter_new(why->store->kv, &view->line, &first, &end, 0);
	bool found = false;
	while (!found && version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		struct entry_record entry;
		size_t len;
		const uint8_t *bytes = version_iter_value(iter, &len);
		found = entry_record_decode(bytes, len, &entry) == 0 && entry.ino == dir;
		if (found)
			buf_addf(name, "%.*s", (int)parts->name_len, parts->name);
	}
	result = version_iter_status(iter);
	version_iter_free(iter);
	*ret_parent = record.parent;
	return found ? 0 : (result < 0 ? result : -ENOENT);
}

/* "dir/dir/name" */
static int make_path(struct why *why, const struct reader_view *view, uint64_t dir, const char *name, char **ret_path)
{
	AUTO_FREE char *path = xstrdup(name);

	for (unsigned depth = 0; dir != ROOT_INO; depth++) {
		AUTO_BUF part = BUF_INIT;
		int result = depth < DEPTH_MAX ? name_directory(why, view, dir, &part, &dir) : -ELOOP;
		if (result < 0)
			return result;
		char *longer = xasprintf("%s/%s", (const char *)part.data, path);
		free(path);
		path = longer;
	}
	*ret_path = steal_ptr(path);
	return 0;
}

struct telling {
	size_t left;
	int (*each)(void *arg, const char *dataset, const char *snapshot, const char *path, uint64_t offset);
	void *arg;
};

static int tell(struct telling *telling, const struct reader_view *view, const char *path, uint64_t offset)
{
	telling->left--;
	return telling->each(telling->arg, view->dataset, view->snapshot, path, offset);
}

/* All names the view has for the file; "" for one without (unlinked while open). */
static int tell_names(struct why *why, const struct reader_view *view, const struct hit *hit, struct telling *telling)
{
	bool told = false;
	int result = 0;

	for (size_t i = 0; i < why->name_count && result == 0 && telling->left > 0; i++) {
		const struct name *name = &why->names[i];
		AUTO_FREE char *path = NULL;
		if (name->family != hit->family || name->ino != hit->ino)
			continue;
		struct tree_key stem = tree_stem_entry(name->family, name->dir, name->text);
		result = sees(why, view, &stem, name->epoch);
		if (result <= 0)
			continue;
		result = make_path(why, view, name->dir, name->text, &path);
		if (result == 0)
			result = tell(telling, view, path, hit->offset);
		told = true;
	}
	if (result == 0 && !told)
		result = tell(telling, view, "", hit->offset);
	return result;
}

static int tell_hits(struct why *why, struct telling *telling)
{
	int result = 0;

	for (size_t i = 0; i < why->hit_count; i++) {
		const struct hit *hit = &why->hits[i];
		struct tree_key stem = tree_stem_extent(hit->family, hit->ino, hit->offset);
		for (size_t k = 0; k < why->view_count && result == 0 && telling->left > 0; k++) {
			if (why->views[k].family != hit->family)
				continue;
			result = sees(why, &why->views[k], &stem, hit->epoch);
			if (result > 0)
				result = tell_names(why, &why->views[k], hit, telling);
		}
		if (result != 0)
			return result;
	}
	return 0;
}

int gc_why(struct store *store, uint64_t chunk, size_t limit,
	   int (*each)(void *arg, const char *dataset, const char *snapshot, const char *path, uint64_t offset), void *arg,
	   struct error *err)
{
	struct why why = {.store = store, .chunk = chunk};
	struct telling telling = {.left = limit, .each = each, .arg = arg};
	struct small_key key = chunk_key(chunk);
	int result = kv_has(store->kv, chunk & CHUNK_BULK ? KV_BULK : KV_SMALL, key.bytes, key.len);

	if (result == -ENOENT)
		return error_set(err, result, "there is no chunk %llu in the store", (unsigned long long)chunk);
	if (result == 0)
		result = walk(&why, KEY_EXTENT, take_extent);
	if (result == 0)
		result = walk(&why, KEY_ENTRY, take_entry);
	if (result == 0) {
		collect_views(&why);
		result = tell_hits(&why, &telling);
	}
	why_clear(&why);
	return result < 0 ? error_default(err, result, "cannot look for chunk %llu", (unsigned long long)chunk) : result;
}
