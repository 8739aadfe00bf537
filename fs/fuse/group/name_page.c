#include "fs/fuse/group/name_page.h"

#include <string.h>
#include <utlist.h>

#include "lib/base/clock.h"

#define HASH_BITS 20
#define INO_BITS 40
#define DEPTH_SHIFT (HASH_BITS + INO_BITS)

/* --- cookies --- */

/* FNV-1a; tells apart the names of one inode in one part. */
static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261U;

	for (const uint8_t *at = (const uint8_t *)name; *at; at++)
		hash = (hash ^ *at) * 16777619U;
	return hash;
}

/* Names that differ at their ends only have much the same first bits in FNV-1a, so it is mixed (the end of MurmurHash3). */
static unsigned part_of(uint32_t hash, unsigned depth)
{
	hash = (hash ^ hash >> 16) * 0x85ebca6bU;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35U;
	hash ^= hash >> 16;
	return depth ? hash >> (32 - depth) : 0;
}

/* Of the first possible name of the part. */
static uint64_t cookie_base(unsigned depth, unsigned part)
{
	return (uint64_t)depth << DEPTH_SHIFT | (uint64_t)part << (DEPTH_SHIFT - depth);
}

static unsigned cookie_depth(uint64_t cookie)
{
	return (unsigned)(cookie >> DEPTH_SHIFT) & NAME_PAGE_DEPTH_MAX;
}

static unsigned cookie_part(uint64_t cookie)
{
	const unsigned depth = cookie_depth(cookie);

	return (unsigned)(cookie >> (DEPTH_SHIFT - depth)) & ((1U << depth) - 1);
}

/* Until the end of loading the cookies are places, since the division may change. "." and ".." are in the first part. */
static bool belongs(const struct name_page *page, enum name_kind kind, const char *name)
{
	if (kind == NAME_DOT || page->depth == 0)
		return page->part == 0;
	return part_of(hash_of(name), page->depth) == page->part;
}

/* --- the budget --- */

void name_pages_init(struct name_pages *pages, uint64_t budget, uint64_t most)
{
	*pages = (struct name_pages){.budget = budget, .most = most};
	pthread_mutex_init(&pages->lock, NULL);
}

void name_pages_clear(struct name_pages *pages)
{
	pthread_mutex_destroy(&pages->lock);
}

uint64_t name_pages_bytes(struct name_pages *pages)
{
	uint64_t bytes;

	pthread_mutex_lock(&pages->lock);
	bytes = pages->bytes;
	pthread_mutex_unlock(&pages->lock);
	return bytes;
}

/* Room that is not filled yet was not touched, either. */
static uint64_t size_of(const struct name_page *page)
{
	return page->list.count * sizeof(*page->list.items) + page->names.len;
}

/* Caller holds pages->lock. */
static void give_up(struct name_page *page)
{
	struct name_pages *pages = page->pages;

	if (page->is_listed)
		DL_DELETE(pages->oldest, page);
	page->is_listed = false;
	pages->bytes -= page->charged;
	page->charged = 0;
	page->is_loaded = false;
	array_clear(&page->list);
	buf_clear(&page->names);
}

/* Takes pages that nobody is reading until `bytes` more fit; with `all` also those that were read a moment ago. Caller holds pages->lock. */
static bool make_room(struct name_pages *pages, uint64_t bytes, bool all)
{
	const uint64_t now = clock_ms();
	struct name_page *page, *next;

	DL_FOREACH_SAFE(pages->oldest, page, next) {
		if (pages->bytes + bytes <= pages->budget || (!all && page->read_ms + NAME_PAGES_RECENT_MS > now))
			break;
		/* elsewhere this lock comes first, so here it is only tried */
		if (pthread_mutex_trylock(&page->lock))
			continue;
		give_up(page);
		pthread_mutex_unlock(&page->lock);
	}
	return pages->bytes + bytes <= pages->budget;
}

/* The page has grown, and perhaps will by `ahead` more, or has shrunk; false: it may not have so much. */
static bool charge(struct name_page *page, uint64_t ahead, bool must)
{
	struct name_pages *pages = page->pages;
	const uint64_t size = size_of(page), wanted = MAX(size, MIN(size + ahead, pages->most));
	bool fits = true;

	must |= size <= NAME_PAGE_LEAST;
	if (size > pages->most && !must)
		return false;
	pthread_mutex_lock(&pages->lock);
	if (wanted > page->charged)
		fits = make_room(pages, wanted - page->charged, must) || must;
	if (fits) {
		pages->bytes += wanted - page->charged;
		page->charged = wanted;
	}
	pthread_mutex_unlock(&pages->lock);
	return fits;
}

/* --- a page --- */

void name_page_init(struct name_page *page, struct name_pages *pages)
{
	*page = (struct name_page){.pages = pages};
	pthread_mutex_init(&page->lock, NULL);
}

void name_page_drop(struct name_page *page)
{
	pthread_mutex_lock(&page->pages->lock);
	give_up(page);
	pthread_mutex_unlock(&page->pages->lock);
}

void name_page_clear(struct name_page *page)
{
	name_page_drop(page);
	pthread_mutex_destroy(&page->lock);
}

/* It is the page that was read last. Caller holds pages->lock. */
static void note_read(struct name_page *page)
{
	struct name_pages *pages = page->pages;

	if (page->is_listed)
		DL_DELETE(pages->oldest, page);
	DL_APPEND(pages->oldest, page);
	page->is_listed = true;
	page->read_ms = clock_ms();
}

bool name_page_has(struct name_page *page, uint64_t cookie)
{
	if (!page->is_loaded || cookie_depth(cookie) != page->depth || cookie_part(cookie) != page->part)
		return false;
	pthread_mutex_lock(&page->pages->lock);
	note_read(page);
	pthread_mutex_unlock(&page->pages->lock);
	return true;
}

void name_page_begin(struct name_page *page, uint64_t cookie)
{
	name_page_drop(page);
	page->depth = cookie_depth(cookie);
	page->part = cookie_part(cookie);
	page->may_divide = cookie == 0;
}

bool name_page_next(struct name_page *page)
{
	name_page_drop(page);
	if (++page->part >= 1U << page->depth)
		return false;
	/* as much as begins here; it is divided again if that does not fit */
	for (; page->part % 2 == 0; page->depth--)
		page->part /= 2;
	page->may_divide = true;
	return true;
}

/* Keeps the half whose hashes have 0 for their next bit. */
static void divide(struct name_page *page)
{
	struct name_page half = {.depth = page->depth + 1, .part = 2 * page->part};

	for (size_t i = 0; i < page->list.count; i++) {
		struct name_item item = page->list.items[i];
		const char *name = name_page_name(page, &item);

		if (!belongs(&half, item.kind, name))
			continue;
		item.name = half.names.len;
		buf_add(&half.names, name, strlen(name) + 1);
		array_add(&half.list, item);
	}
	array_clear(&page->list);
	buf_clear(&page->names);
	page->depth = half.depth;
	page->part = half.part;
	page->names = half.names;
	page->list = half.list;
}

void name_page_add(struct name_page *page, const struct name_entry *entry, const char *name)
{
	const struct name_item item = {.cookie = entry->place,
	                               .number = entry->kind == NAME_FILE ? entry->place : entry->number,
	                               .name = page->names.len,
	                               .kind = entry->kind,
	                               .type = entry->type};

	if (!belongs(page, entry->kind, name))
		return;
	buf_add(&page->names, name, strlen(name) + 1);
	array_add(&page->list, item);
	while (size_of(page) > page->charged && !charge(page, size_of(page) / 4, !page->may_divide || page->depth == NAME_PAGE_DEPTH_MAX))
		divide(page);
}

/* Names of one place and one hash in the order of their names' places in memory, that is of the store. */
static int compare(const void *a, const void *b)
{
	const struct name_item *x = a, *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static void sort(struct name_page *page)
{
	struct name_item *items = page->list.items;
	const size_t count = page->list.count;
	bool sorted = true;

	for (size_t i = 1; i < count; i++)
		sorted &= items[i - 1].cookie < items[i].cookie;
	if (sorted)
		return;
	qsort(items, count, sizeof(*items), compare);
	/* two names of one inode with one hash */
	for (size_t i = 1; i < count; i++) {
		if (items[i].cookie <= items[i - 1].cookie)
			items[i].cookie = items[i - 1].cookie + 1;
	}
}

void name_page_end(struct name_page *page)
{
	const unsigned hash_bits = HASH_BITS - page->depth;
	const uint64_t base = cookie_base(page->depth, page->part);

	for (size_t i = 0; i < page->list.count; i++) {
		struct name_item *item = &page->list.items[i];
		const uint64_t place = item->kind == NAME_DOT ? 0 : item->cookie;
		const uint64_t hash = item->kind == NAME_DOT ? item->cookie : hash_of(name_page_name(page, item));

		item->cookie = base | place << hash_bits | (hash & ((1U << hash_bits) - 1));
	}
	sort(page);
	array_fit(&page->list);
	buf_fit(&page->names);
	(void)charge(page, 0, true);
	page->is_loaded = true;
	pthread_mutex_lock(&page->pages->lock);
	note_read(page);
	pthread_mutex_unlock(&page->pages->lock);
}

size_t name_page_find(const struct name_page *page, uint64_t cookie)
{
	size_t low = 0, high = page->list.count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (page->list.items[middle].cookie <= cookie)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
