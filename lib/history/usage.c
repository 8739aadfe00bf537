#include "lib/history/usage.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/history/holders.h"
#include "lib/store/catalog.h"
#include "lib/store/unknown.h"
#include "lib/tree/records/all_versions.h"

#define PAGE_BITS 12
#define PAGE_CHUNKS (1U << PAGE_BITS)
#define LOOK_EVERY 4096

/* Heads and snapshots in the order in which they are told. */
struct counted {
	char *dataset, *snapshot;
	uint32_t dataset_id, family;
	uint64_t number;
	struct timespec taken;
	struct line line;
	struct usage usage;
};

/* The chunks of PAGE_CHUNKS neighbouring ids. */
struct page {
	uint64_t number;
	UT_hash_handle hh;
	struct {
		uint32_t set;
		uint32_t plain; /* as much of it as extents name */
	} chunks[PAGE_CHUNKS];
};

/* Sums over what one set of views holds. */
struct sums {
	uint64_t files, logical, inlined;
	uint64_t chunks, plain;
	uint64_t looked_at, looked_plain, looked_stored, seen;
};

/* Which views have an epoch in their line. */
struct epoch_set {
	struct {
		uint64_t epoch;
		uint64_t family;
	} key;
	uint32_t set;
	UT_hash_handle hh;
};

struct census {
	struct store *store;
	const struct usage_options *options;
	ARRAY(struct counted) views;
	struct holders *holders;
	struct epoch_set *epochs; /* uthash */
	struct page *pages;       /* uthash */
	ARRAY(struct sums) sums; /* by set number */

	/* of the key at hand */
	uint32_t newer; /* the views that see a newer version */
};

/* --- who there is --- */

static int in_order(const void *a, const void *b)
{
	const struct counted *left = a, *right = b;
	int order = strcmp(left->dataset, right->dataset);

	if (order != 0)
		return order;
	return left->number < right->number ? -1 : left->number > right->number;
}

static void find_views(struct census *census)
{
	struct store *store = census->store;

	mutex_take(&store->catalog_lock);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		struct counted head = {
			.dataset = xstrdup(dataset->name),
			.dataset_id = dataset->record.id,
			.family = dataset->record.family,
			.number = UINT64_MAX,
			.line = line_copy(&dataset->record.line),
		};
		array_add(&census->views, head);
	}
	for (struct snapshot *snapshot = store->by_view; snapshot; snapshot = snapshot->by_view.next) {
		const struct snapshot_record *record = &snapshot->record;
		struct counted one = {
			.dataset = xstrdup(snapshot->dataset->name),
			.snapshot = xstrdup(snapshot->name),
			.dataset_id = record->dataset,
			.family = record->family,
			.number = record->number,
			.taken = record->taken,
			.line = line_copy(&record->line),
		};
		array_add(&census->views, one);
	}
	mutex_give(&store->catalog_lock);
	if (census->views.count > 0)
		qsort(census->views.items, census->views.count, sizeof(*census->views.items), in_order);
	census->holders = holders_new(census->views.count);
}

static uint32_t views_of_epoch(struct census *census, uint32_t family, uint64_t epoch)
{
	struct epoch_set *found, wanted = {.key = {epoch, family}};
	AUTO_FREE uint64_t *bits = NULL;

	HASH_FIND(hh, census->epochs, &wanted.key, sizeof(wanted.key), found);
	if (found)
		return found->set;
	bits = xcalloc(holders_words(census->holders), sizeof(*bits));
	for (size_t i = 0; i < census->views.count; i++)
		if (census->views.items[i].family == family && line_has(&census->views.items[i].line, epoch))
			bits[i / 64] |= 1ULL << (i % 64);
	found = xcalloc(1, sizeof(*found));
	found->key = wanted.key;
	found->set = holders_intern(census->holders, bits);
	HASH_ADD(hh, census->epochs, key, sizeof(found->key), found);
	return found->set;
}

/* Those of `set` that see no newer version. */
static uint32_t without_newer(struct census *census, uint32_t set)
{
	size_t words = holders_words(census->holders);
	AUTO_FREE uint64_t *bits = NULL;

	if (census->newer == 0)
		return set;
	bits = xcalloc(words, sizeof(*bits));
	for (size_t i = 0; i < words; i++)
		bits[i] = holders_bits(census->holders, set)[i] & ~holders_bits(census->holders, census->newer)[i];
	return holders_intern(census->holders, bits);
}

static struct sums *sums_of(struct census *census, uint32_t set)
{
	while (set >= census->sums.count)
		array_new(&census->sums);
	return &census->sums.items[set];
}

/* --- one scan --- */

static void count_extent(struct census *census, uint32_t set, const struct extent_record *extent)
{
	uint64_t number = extent->chunk >> PAGE_BITS;
	struct page *page;

	if (extent->chunk == CHUNK_NONE)
		return;
	HASH_FIND(hh, census->pages, &number, sizeof(number), page);
	if (!page) {
		page = xcalloc(1, sizeof(*page));
		page->number = number;
		HASH_ADD(hh, census->pages, number, sizeof(number), page);
	}
	size_t at = extent->chunk % PAGE_CHUNKS;
	page->chunks[at].set = holders_unite(census->holders, page->chunks[at].set, set);
	page->chunks[at].plain = MAX(page->chunks[at].plain, extent->chunk_offset + extent->length);
}

static int count_version(struct census *census, uint32_t set, enum key_kind kind, const uint8_t *value, size_t len)
{
	struct extent_record extent;
	struct inode_record inode;
	int result;

	if (kind == KEY_CONTENT) {
		const uint8_t *data;
		result = content_record_decode(value, len, &data, &len);
		if (result == 0)
			sums_of(census, set)->inlined += len;
		return result;
	}
	if (kind == KEY_EXTENT) {
		result = extent_record_decode(value, len, &extent);
		if (result == 0)
			count_extent(census, set, &extent);
		return result;
	}
	result = inode_record_decode(value, len, &inode);
	if (result == 0) {
		struct sums *sums = sums_of(census, set);
		bool is_file = S_ISREG(inode.mode);
		sums->files += is_file;
		sums->logical += is_file ? inode.size : 0;
		sums->inlined += inode.target_len;
	}
	return result;
}

static int look_at_version(struct census *census, const struct stored_version *version)
{
	const struct tree_key_parts *parts = &version->parts;
	uint32_t has, sees;

	if (parts->kind != KEY_INODE && parts->kind != KEY_EXTENT && parts->kind != KEY_CONTENT)
		return 0;
	if (version->is_newest)
		census->newer = 0;
	has = views_of_epoch(census, parts->family, parts->epoch);
	sees = without_newer(census, has);
	census->newer = holders_unite(census->holders, census->newer, has);
	return sees == 0 || version->len == 0 ? 0 : count_version(census, sees, parts->kind, version->value, version->len);
}

static bool is_cancelled(const struct census *census)
{
	return census->options->cancelled && census->options->cancelled(census->options->arg);
}

static int scan(struct census *census, struct all_versions *all)
{
	struct stored_version version;
	int result;

	for (uint64_t i = 1; (result = all_versions_next(all, &version)) > 0; i++) {
		result = look_at_version(census, &version);
		if (result == 0 && i % LOOK_EVERY == 0 && is_cancelled(census))
			result = -ECANCELED;
		if (result < 0)
			break;
	}
	all_versions_free(all);
	return result;
}

/* --- stored sizes --- */

static int by_page(struct page *a, struct page *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

static int look_at_chunk(struct census *census, uint64_t id, uint32_t set, uint32_t plain)
{
	struct sums *sums = sums_of(census, set);
	uint64_t step = census->options->exact ? 1 : sums->chunks / USAGE_SAMPLES + 1, stored;
	int result;

	if (sums->seen++ % step != 0)
		return 0;
	result = chunks_stored(census->store->chunks, id, &stored);
	/* A missing chunk is for check to tell; here it takes no place. */
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	sums->looked_at++;
	sums->looked_plain += plain;
	sums->looked_stored += stored;
	return 0;
}

static int weigh(struct census *census)
{
	int result = 0;

	HASH_SORT(census->pages, by_page);
	for (struct page *page = census->pages; page; page = page->hh.next)
		for (size_t i = 0; i < PAGE_CHUNKS; i++) {
			struct sums *sums = sums_of(census, page->chunks[i].set);
			sums->chunks += page->chunks[i].set != 0;
			sums->plain += page->chunks[i].plain;
		}
	for (struct page *page = census->pages; page && result == 0; page = page->hh.next) {
		for (size_t i = 0; i < PAGE_CHUNKS && result == 0; i++)
			if (page->chunks[i].set != 0)
				result = look_at_chunk(census, page->number << PAGE_BITS | i, page->chunks[i].set,
						       page->chunks[i].plain);
		if (result == 0 && is_cancelled(census))
			result = -ECANCELED;
	}
	return result;
}

static uint64_t stored_of(const struct sums *sums)
{
	double ratio = sums->looked_plain ? (double)sums->looked_stored / (double)sums->looked_plain : 1;

	if (sums->looked_at == sums->chunks)
		return sums->inlined + sums->looked_stored;
	return sums->inlined + (uint64_t)(ratio * (double)sums->plain);
}

/* --- sums of sums --- */

/* The last of the snapshots that a set consists of, if all are of one dataset; else SIZE_MAX. */
static size_t last_snapshot(const struct census *census, const uint64_t *bits)
{
	size_t last = SIZE_MAX;

	for (size_t i = 0; i < census->views.count; i++) {
		if (!holders_bit(bits, i))
			continue;
		if (!census->views.items[i].snapshot || (last != SIZE_MAX && census->views.items[i].dataset_id != census->views.items[last].dataset_id))
			return SIZE_MAX;
		last = i;
	}
	return last;
}

static void add_up(struct census *census)
{
	for (uint32_t set = 1; set < MIN(census->sums.count, holders_count(census->holders)); set++) {
		const struct sums *sums = &census->sums.items[set];
		const uint64_t *bits = holders_bits(census->holders, set);
		uint64_t stored = stored_of(sums);
		size_t members = 0, member = 0, last = last_snapshot(census, bits);
		for (size_t i = 0; i < census->views.count; i++) {
			struct usage *usage = &census->views.items[i].usage;
			if (!holders_bit(bits, i))
				continue;
			members++;
			member = i;
			usage->files += sums->files;
			usage->logical += sums->logical;
			usage->stored += stored;
			usage->estimated = usage->estimated || sums->looked_at < sums->chunks;
		}
		if (members == 1)
			census->views.items[member].usage.unique += stored;
		if (last != SIZE_MAX)
			census->views.items[last].usage.cumulative += stored;
	}
	for (size_t i = 1; i < census->views.count; i++) {
		struct counted *view = &census->views.items[i], *before = view - 1;
		if (view->snapshot && before->snapshot && view->dataset_id == before->dataset_id)
			view->usage.cumulative += before->usage.cumulative;
	}
}

static int find_in_range(const struct census *census, const char *name, size_t *ret_at, struct error *err)
{
	for (size_t i = 0; i < census->views.count; i++) {
		const struct counted *view = &census->views.items[i];
		if (view->snapshot && strcmp(view->dataset, census->options->dataset) == 0 && strcmp(view->snapshot, name) == 0) {
			*ret_at = i;
			return 0;
		}
	}
	return unknown_snapshot(census->store, census->options->dataset, name, err);
}

/* Before the scan, so that a mistake is told at once. */
static int check_names(const struct census *census, size_t *first, size_t *last, struct error *err)
{
	const struct usage_options *options = census->options;
	bool found = !options->dataset;
	int result = 0;

	for (size_t i = 0; i < census->views.count && !found; i++)
		found = strcmp(census->views.items[i].dataset, options->dataset) == 0;
	if (!found)
		return unknown_dataset(census->store, options->dataset, err);
	if (!options->first)
		return 0;
	result = find_in_range(census, options->first, first, err);
	if (result == 0)
		result = find_in_range(census, options->last, last, err);
	if (result == 0 && *first > *last)
		result = error_set(err, -EINVAL, "%s@%s%%%s: the first was taken after the last", options->dataset, options->first,
				   options->last);
	return result;
}

static uint64_t freed_by(const struct census *census, size_t first, size_t last)
{
	uint64_t freed = 0;

	for (uint32_t set = 1; set < MIN(census->sums.count, holders_count(census->holders)); set++) {
		const uint64_t *bits = holders_bits(census->holders, set);
		bool inside = true;
		for (size_t i = 0; i < census->views.count && inside; i++)
			inside = !holders_bit(bits, i) || (i >= first && i <= last);
		freed += inside ? stored_of(&census->sums.items[set]) : 0;
	}
	return freed;
}

static void census_clear(struct census *census)
{
	struct epoch_set *epoch, *next_epoch;
	struct page *page, *next_page;

	HASH_ITER (hh, census->epochs, epoch, next_epoch) {
		HASH_DEL(census->epochs, epoch);
		free(epoch);
	}
	HASH_ITER (hh, census->pages, page, next_page) {
		HASH_DEL(census->pages, page);
		free(page);
	}
	for (size_t i = 0; i < census->views.count; i++) {
		free(census->views.items[i].dataset);
		free(census->views.items[i].snapshot);
		line_clear(&census->views.items[i].line);
	}
	array_clear(&census->views);
	array_clear(&census->sums);
	holders_free(census->holders);
}

int usage_compute(struct store *store, const struct usage_options *options, int (*each)(void *arg, const struct usage *usage), void *arg,
		  uint64_t *ret_freed, struct error *err)
{
	struct census census = {.store = store, .options = options};
	size_t first = 1, last = 0;
	int result;

	find_views(&census);
	result = check_names(&census, &first, &last, err);
	if (result == 0)
		result = scan(&census, all_versions_new(store->tree));
	if (result == 0)
		result = scan(&census, all_versions_new_contents(store->tree));
	if (result == 0)
		result = weigh(&census);
	if (result == 0) {
		add_up(&census);
		*ret_freed = freed_by(&census, first, last);
	}
	for (size_t i = 0; i < census.views.count && result == 0; i++) {
		struct counted *view = &census.views.items[i];
		if (options->dataset && strcmp(view->dataset, options->dataset) != 0)
			continue;
		view->usage.dataset = view->dataset;
		view->usage.snapshot = view->snapshot;
		view->usage.taken = view->taken;
		result = each(arg, &view->usage);
	}
	census_clear(&census);
	return result < 0 ? error_default(err, result, "the use of space") : 0;
}
