#include "lib/verify/damage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/reclaim/chunk_references.h"
#include "lib/store/catalog.h"
#include "lib/tree/records/scan.h"
#include "lib/verify/damage_records.h"

/* --- what is damaged --- */

const struct chunk_damage *damage_find_chunk(const struct chunk_damage *list, size_t count, uint64_t chunk)
{
	size_t low = 0, high = count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (list[middle].chunk < chunk)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && list[low].chunk == chunk ? &list[low] : NULL;
}

size_t damage_ids(struct store *store, uint64_t **ret_ids)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	const size_t count = chunks_list_damage(store_chunks(store), &list);
	uint64_t *ids = xcalloc(count + 1, sizeof(*ids));
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		const struct chunk_damage *damage = &list[i];
		/* what stands for it may be damaged in its turn */
		for (size_t steps = 0; damage && damage->replacement != CHUNK_NONE && steps < count; steps++)
			damage = damage_find_chunk(list, count, damage->replacement);
		if (damage)
			ids[found++] = list[i].chunk;
	}
	*ret_ids = ids;
	return found;
}

/* --- where it is whole --- */

/* A view that may have the path whole. */
struct candidate {
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1];
	uint64_t number; /* of the snapshot; UINT64_MAX: a head */
	struct scan scan;
};

struct finding {
	struct store *store;
	const uint64_t *ids;
	size_t id_count;
	ARRAY(struct candidate) candidates; /* the newest first */
	char *dataset, *path;               /* of the answer given last */
	const struct candidate *whole;
	damage_place_fn each;
	void *arg;
	struct damage_sum sum;
};

static void add_candidate(struct finding *finding, const char *dataset, const char *snapshot, uint64_t number, uint32_t family,
			  const struct line *line)
{
	struct candidate *candidate = array_new(&finding->candidates);

	snprintf(candidate->dataset, sizeof(candidate->dataset), "%s", dataset);
	snprintf(candidate->snapshot, sizeof(candidate->snapshot), "%s", snapshot);
	candidate->number = number;
	scan_of_line(&candidate->scan, store_tree(finding->store), family, line);
}

static int newest_first(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	return left->number > right->number ? -1 : left->number < right->number;
}

static void collect_candidates(struct finding *finding)
{
	struct store *store = finding->store;

	mutex_take(&store->catalog_lock);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		add_candidate(finding, dataset->name, "", UINT64_MAX, dataset->record.family, &dataset->record.line);
		for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
			add_candidate(finding, dataset->name, snapshot->name, snapshot->record.number, snapshot->record.family,
				      &snapshot->record.line);
	}
	mutex_give(&store->catalog_lock);
	qsort(finding->candidates.items, finding->candidates.count, sizeof(struct candidate), newest_first);
}

static int compare_ids(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* 1 ends the walk: the file is hurt. */
static int is_hurt(void *arg, const struct extent *extent)
{
	const struct finding *finding = arg;

	return bsearch(&extent->record.chunk, finding->ids, finding->id_count, sizeof(uint64_t), compare_ids) != NULL;
}

/* The inode of a path; -ENOENT. */
static int resolve(const struct scan *scan, const char *path, uint64_t *ret_ino)
{
	AUTO_FREE char *copy = xstrdup(path);
	uint64_t ino = ROOT_INO;
	char *rest = NULL;
	int result = 0;

	for (char *name = strtok_r(copy, "/", &rest); name && result == 0; name = strtok_r(NULL, "/", &rest)) {
		struct entry_record entry;
		result = scan_entry(scan, ino, name, &entry);
		if (result == 0)
			ino = entry.ino;
	}
	if (result == 0)
		*ret_ino = ino;
	return result;
}

static bool has_inline(const struct candidate *candidate, const struct scan_inode *inode)
{
	AUTO_BUF content = BUF_INIT;

	return !inode->record.is_inline || scan_inline(&candidate->scan, inode, &content) >= 0;
}

static bool is_whole(struct finding *finding, const struct candidate *candidate, const char *path)
{
	struct scan_inode inode = {0};
	uint64_t ino = 0;
	bool whole;

	if (resolve(&candidate->scan, path, &ino) < 0 || scan_inode(&candidate->scan, ino, &inode) < 0)
		return false;
	whole = S_ISREG(inode.record.mode) && has_inline(candidate, &inode);
	scan_inode_clear(&inode);
	return whole && scan_extents(&candidate->scan, ino, is_hurt, finding) == 0;
}

static const struct candidate *find_whole(struct finding *finding, const char *dataset, const char *path)
{
	const struct candidate *own = NULL, *other = NULL, *head = NULL;

	for (size_t i = 0; i < finding->candidates.count && !head; i++) {
		const struct candidate *candidate = &finding->candidates.items[i];
		if (!candidate->snapshot[0] && strcmp(candidate->dataset, dataset) == 0)
			head = candidate;
	}
	for (size_t i = 0; i < finding->candidates.count && head && !own; i++) {
		const struct candidate *candidate = &finding->candidates.items[i];
		const bool is_own = strcmp(candidate->dataset, dataset) == 0;
		if (candidate == head || candidate->scan.family != head->scan.family || (!is_own && other))
			continue;
		if (!is_whole(finding, candidate, path))
			continue;
		if (is_own)
			own = candidate;
		else
			other = candidate;
	}
	return own ? own : other;
}

/* References of one file come one after the other. */
static const struct candidate *whole_of(struct finding *finding, const char *dataset, const char *snapshot, const char *path)
{
	if (snapshot[0] || !path[0])
		return NULL;
	if (finding->path && strcmp(finding->path, path) == 0 && strcmp(finding->dataset, dataset) == 0)
		return finding->whole;
	free(finding->dataset);
	free(finding->path);
	finding->dataset = xstrdup(dataset);
	finding->path = xstrdup(path);
	finding->whole = find_whole(finding, dataset, path);
	return finding->whole;
}

static int tell_place(void *arg, const struct chunk_reference *reference)
{
	struct finding *finding = arg;
	const struct candidate *whole = whole_of(finding, reference->dataset, reference->snapshot, reference->path);

	finding->sum.places++;
	finding->sum.bytes += reference->length;
	return finding->each(finding->arg, &(struct damage_place){
						   .dataset = reference->dataset,
						   .snapshot = reference->snapshot,
						   .path = reference->path,
						   .offset = reference->offset,
						   .length = reference->length,
						   .chunk = reference->chunk,
						   .whole_dataset = whole ? whole->dataset : "",
						   .whole_snapshot = whole ? whole->snapshot : "",
					   });
}

static int tell_name(void *arg, const struct damage_name *name)
{
	struct finding *finding = arg;
	const struct candidate *whole = whole_of(finding, name->dataset, name->snapshot, name->path);

	finding->sum.places++;
	return finding->each(finding->arg, &(struct damage_place){
						   .dataset = name->dataset,
						   .snapshot = name->snapshot,
						   .path = name->path,
						   .records = true,
						   .whole_dataset = whole ? whole->dataset : "",
						   .whole_snapshot = whole ? whole->snapshot : "",
					   });
}

static int find_content(struct finding *finding, size_t limit, struct error *err)
{
	return finding->id_count > 0 ? chunk_references_find(finding->store, finding->ids, finding->id_count, limit, tell_place, finding,
							     &finding->sum.all, err)
				     : 0;
}

/* The mark says whether anybody has met a damaged table; where nothing can be marked, all are read. */
static int find_records(struct finding *finding, size_t limit, struct lost_records *lost)
{
	struct kv *kv = store_kv(finding->store);
	bool all = true;
	int result = kv_damaged(kv) == KV_DAMAGED || kv_read_only(kv) ? lost_records_find(finding->store, NULL, NULL, lost) : 0;

	if (result == 0 && lost->inodes.count > 0)
		result = damage_names_find(finding->store, lost, limit, tell_name, finding, &all);
	finding->sum.all &= all;
	return result;
}

int damage_find(struct store *store, size_t limit, damage_place_fn each, void *arg, struct damage_sum *ret_sum, struct lost_records *ret_lost,
		struct error *err)
{
	AUTO_FREE uint64_t *ids = NULL;
	struct finding finding = {.store = store, .id_count = damage_ids(store, &ids), .each = each, .arg = arg};
	int result;

	*ret_lost = (struct lost_records){0};
	finding.ids = ids;
	finding.sum = (struct damage_sum){.chunks = finding.id_count, .all = true};
	collect_candidates(&finding);
	result = find_records(&finding, limit, ret_lost);
	if (result == 0)
		result = find_content(&finding, limit, err);
	/* what refers to the chunks cannot be told where names are lost */
	if (result == -EBADMSG && lost_records_any(ret_lost)) {
		finding.sum.all = false;
		result = 0;
	}
	for (size_t i = 0; i < finding.candidates.count; i++)
		scan_clear(&finding.candidates.items[i].scan);
	array_clear(&finding.candidates);
	free(finding.dataset);
	free(finding.path);
	if (result == 0)
		*ret_sum = finding.sum;
	return result < 0 ? error_default(err, result, "damage cannot be looked at") : result;
}
