#include "lib/browse/disk_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <utlist.h>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/browse/segments.h"
#include "lib/repository/open_packs.h"

#define SEGMENT_BYTES (32U << 20)
#define SEGMENT_BYTES_MIN (128U << 10)
#define SEGMENTS_MIN 32     /* of a cache that is full */
#define RECORD_MAX (1U << 30)
#define BYTES_PER_SLOT 8192 /* a segment of smaller blobs is full by its table */

struct disk_cache {
	struct disk_cache_options options;
	struct open_packs *files; /* that are read */
	uint32_t segment_bytes, segment_slots;

	pthread_mutex_t writing; /* guards what follows, and that one thread at a time changes files */
	int fd;                  /* of the segment that is written to; -1: none is */
	uint32_t used, slots;    /* of its table */

	pthread_mutex_t lock; /* guards all below; `current`, its length and `last_number` change only while `writing` is held, too */
	struct segments segments;
	struct segment *current; /* is written to, or NULL */
	uint32_t last_number;
	struct disk_cache_state state; /* but for what `segments` knows */
	bool loaded, stopped, told_damage, told_full; /* stopped: changes only while `writing` is held, too */
};

/* --- segments; the lock is held --- */

/*
 * Takes segments out until `more` bytes have room; false: they never will. Those taken out are to be unlinked. What is written to goes only when
 * it is full.
 */
static bool make_room(struct disk_cache *cache, uint64_t more, struct segment **gone)
{
	struct segment *oldest = cache->segments.by_use, *next;

	while (cache->segments.bytes + more > cache->state.limit && oldest) {
		next = oldest->next;
		if (oldest != cache->current) {
			segments_take_out(&cache->segments, oldest, gone);
			cache->state.evicted++;
		}
		oldest = next;
	}
	return cache->segments.bytes + more <= cache->state.limit;
}

/* Without the lock. */
static void unlink_segments(struct disk_cache *cache, struct segment *gone)
{
	struct segment *segment, *next;
	char name[SEGMENT_NAME];

	DL_FOREACH_SAFE (gone, segment, next) {
		segment_name(segment->number, name);
		(void)unlinkat(cache->options.dir, name, 0);
		open_packs_forget(cache->files, name);
		free(segment);
	}
}

static void tell(struct disk_cache *cache, bool *told, const char *what, int code)
{
	AUTO_FREE char *text = xasprintf("what=\"%s%s%s\"", what, code ? ": " : "", code ? error_text(code) : "");
	bool is_news;

	pthread_mutex_lock(&cache->lock);
	is_news = !*told;
	*told = true;
	pthread_mutex_unlock(&cache->lock);
	if (is_news)
		cache->options.problem(cache->options.arg, text);
}

/* --- reading --- */

static int open_segment(void *arg, const char *name)
{
	return file_open_inside(((const struct disk_cache *)arg)->options.dir, name, O_RDONLY, 0);
}

/* -ENOENT: the segment is gone. -EBADMSG, -EUCLEAN: it is not what it should be. */
static int read_spot(struct disk_cache *cache, const struct blob_spot *spot, const struct blob_id *id, struct buf *ret_plain)
{
	char name[SEGMENT_NAME];
	int fd, r;

	segment_name(spot->segment, name);
	fd = open_packs_take(cache->files, name, open_segment, cache);
	if (fd < 0)
		return fd;
	r = segment_read(fd, spot, id, ret_plain);
	open_packs_give(cache->files, fd);
	return r;
}

/* Somebody has taken its file away, or put something else in its place. */
static void drop_segment(struct disk_cache *cache, uint32_t number)
{
	struct segment *segment, *gone = NULL;

	pthread_mutex_lock(&cache->writing);
	pthread_mutex_lock(&cache->lock);
	segment = cache->stopped ? NULL : segments_get(&cache->segments, number);
	if (segment && segment == cache->current) {
		close(cache->fd);
		cache->fd = -1;
		cache->current = NULL;
	}
	if (segment)
		segments_take_out(&cache->segments, segment, &gone);
	pthread_mutex_unlock(&cache->lock);
	unlink_segments(cache, gone);
	pthread_mutex_unlock(&cache->writing);
}

static void forget(struct disk_cache *cache, const struct blob_spot *spot, bool is_damaged)
{
	pthread_mutex_lock(&cache->lock);
	segments_forget(&cache->segments, spot);
	cache->state.damaged += is_damaged;
	pthread_mutex_unlock(&cache->lock);
	if (is_damaged)
		tell(cache, &cache->told_damage, "something in the cache was damaged, and is fetched anew", 0);
}

static bool find(struct disk_cache *cache, const struct blob_id *id, bool is_tree, struct blob_spot *ret_spot)
{
	bool found;

	pthread_mutex_lock(&cache->lock);
	found = !cache->stopped && segments_find(&cache->segments, segment_key(id), is_tree, ret_spot);
	if (found)
		segments_use(&cache->segments, segments_get(&cache->segments, ret_spot->segment));
	pthread_mutex_unlock(&cache->lock);
	return found;
}

bool disk_cache_has(struct disk_cache *cache, const struct blob_id *id, bool is_tree)
{
	struct blob_spot spot;
	bool found;

	pthread_mutex_lock(&cache->lock);
	found = segments_find(&cache->segments, segment_key(id), is_tree, &spot);
	pthread_mutex_unlock(&cache->lock);
	return found;
}

int disk_cache_get(struct disk_cache *cache, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	struct blob_spot spot;
	int r;

	if (!find(cache, id, is_tree, &spot))
		return -ENOENT;
	r = read_spot(cache, &spot, id, ret_plain);
	/* Unless it has just been evicted. */
	if (r == -ENOENT || r == -EUCLEAN)
		drop_segment(cache, spot.segment);
	/* It may also be that there is no memory, or too many files are open, and then it is as good as before. */
	if (r == -ENOENT || r == -EBADMSG || r == -EUCLEAN)
		forget(cache, &spot, r != -ENOENT);
	if (r < 0)
		return -ENOENT;
	pthread_mutex_lock(&cache->lock);
	cache->state.hits++;
	cache->state.hit_bytes += ret_plain->len;
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

/* --- writing; `writing` is held --- */

static void end_current(struct disk_cache *cache)
{
	if (cache->fd >= 0)
		close(cache->fd);
	cache->fd = -1;
	pthread_mutex_lock(&cache->lock);
	cache->current = NULL;
	pthread_mutex_unlock(&cache->lock);
}

static int begin_segment(struct disk_cache *cache)
{
	int r = segment_create(cache->options.dir, cache->last_number + 1, cache->segment_slots, &cache->fd);

	if (r < 0)
		return r;
	cache->used = 0;
	cache->slots = cache->segment_slots;
	pthread_mutex_lock(&cache->lock);
	cache->current = segments_add(&cache->segments, ++cache->last_number, segment_begin(cache->segment_slots));
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

/* An empty one takes a record of any length. */
static bool is_full(const struct disk_cache *cache, uint64_t more)
{
	return cache->used == cache->slots || (cache->used > 0 && cache->current->bytes + more > cache->segment_bytes);
}

/* Where the next record goes. -ENOBUFS: there is no room for it in this cache. */
static int find_place(struct disk_cache *cache, uint64_t bytes, uint32_t *ret_offset)
{
	struct segment *gone = NULL;
	bool has_room;
	int r = 0;

	if (cache->current && is_full(cache, bytes))
		end_current(cache);
	pthread_mutex_lock(&cache->lock);
	has_room = make_room(cache, bytes + (cache->current ? 0 : segment_begin(cache->segment_slots)), &gone);
	pthread_mutex_unlock(&cache->lock);
	unlink_segments(cache, gone);
	if (!has_room)
		return -ENOBUFS;
	if (!cache->current)
		r = begin_segment(cache);
	if (r == 0)
		*ret_offset = (uint32_t)cache->current->bytes;
	return r;
}

/* Of what could not be written. A disk that is full has more room when the cache has less. */
static void note_failure(struct disk_cache *cache, int code)
{
	const bool is_full = code == -ENOSPC || code == -EDQUOT;
	struct segment *gone = NULL;

	/* What was written of the record; if it stays, it is of no account. */
	if (cache->current)
		(void)!ftruncate(cache->fd, (off_t)cache->current->bytes);
	end_current(cache);
	pthread_mutex_lock(&cache->lock);
	if (is_full)
		cache->state.limit = MIN(cache->state.limit, cache->segments.bytes / 16 * 15);
	cache->state.failed = !is_full || cache->state.limit < DISK_CACHE_MIN / 4;
	(void)make_room(cache, 0, &gone);
	pthread_mutex_unlock(&cache->lock);
	unlink_segments(cache, gone);
	tell(cache, &cache->told_full, is_full ? "the disk of the cache is full, and the cache stays smaller" : "nothing more is kept in the cache", code);
}

static void put(struct disk_cache *cache, const struct blob_id *id, uint32_t length, const void *data)
{
	struct blob_spot spot = {.key = segment_key(id), .length = length};
	const uint64_t bytes = segment_record_bytes(length);
	int r = find_place(cache, bytes, &spot.offset);

	if (r == -ENOBUFS)
		return;
	if (r == 0) {
		spot.segment = cache->current->number;
		r = segment_write(cache->fd, cache->used, &spot, id, data);
	}
	if (r < 0) {
		note_failure(cache, r);
		return;
	}
	cache->used++;
	pthread_mutex_lock(&cache->lock);
	segments_grow(&cache->segments, cache->current, bytes);
	segments_set(&cache->segments, &spot);
	pthread_mutex_unlock(&cache->lock);
}

void disk_cache_put(struct disk_cache *cache, const struct blob_id *id, bool is_tree, const void *data, size_t len)
{
	struct blob_spot spot;
	bool wanted;

	pthread_mutex_lock(&cache->writing);
	pthread_mutex_lock(&cache->lock);
	wanted = cache->loaded && !cache->stopped && !cache->state.failed && len <= MIN(cache->state.limit / 8, RECORD_MAX) &&
	         !segments_find(&cache->segments, segment_key(id), is_tree, &spot);
	pthread_mutex_unlock(&cache->lock);
	if (wanted)
		put(cache, id, (uint32_t)len | (is_tree ? SEGMENT_TREE : 0), data);
	pthread_mutex_unlock(&cache->writing);
}

/* --- what is there when it begins --- */

struct numbers {
	ARRAY_FIELDS(uint32_t);
};

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void list_segments(const struct disk_cache *cache, struct numbers *numbers)
{
	DIR *dir = file_entries(cache->options.dir);
	const char *found;

	while (dir && file_next_entry(dir, &found) > 0) {
		char *end, name[SEGMENT_NAME];
		const unsigned long number = strtoul(found, &end, 16);

		segment_name((uint32_t)number, name);
		if (strcmp(name, found) == 0 && number > 0 && number < UINT32_MAX)
			array_add(numbers, (uint32_t)number);
	}
	if (dir)
		closedir(dir);
	if (numbers->count > 0)
		qsort(numbers->items, numbers->count, sizeof(*numbers->items), compare_numbers);
}

/* Only what is damaged goes. What cannot be looked at now may be good: it counts, and is not used before the cache is opened anew. */
static void pass_over(struct disk_cache *cache, uint32_t number, const char *name, int code)
{
	struct stat st;

	if (code == -EBADMSG || code == -EUCLEAN) {
		(void)unlinkat(cache->options.dir, name, 0);
		return;
	}
	if (fstatat(cache->options.dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	pthread_mutex_lock(&cache->lock);
	(void)segments_add(&cache->segments, number, (uint64_t)st.st_size);
	pthread_mutex_unlock(&cache->lock);
}

static void load_segment(struct disk_cache *cache, uint32_t number, struct segment_table *table)
{
	char name[SEGMENT_NAME];
	int r;

	segment_name(number, name);
	AUTO_CLOSE int fd = file_open_inside(cache->options.dir, name, O_RDWR, 0);
	r = fd < 0 ? fd : segment_read_table(fd, number, table);
	if (r < 0) {
		pass_over(cache, number, name, r);
		return;
	}
	pthread_mutex_lock(&cache->lock);
	cache->current = segments_add(&cache->segments, number, table->bytes);
	for (size_t i = 0; i < table->spots.count; i++)
		segments_set(&cache->segments, &table->spots.items[i]);
	pthread_mutex_unlock(&cache->lock);
	/* The last one is written on. */
	if (cache->fd >= 0)
		close(cache->fd);
	cache->fd = fd;
	fd = -1;
	cache->used = table->used;
	cache->slots = table->slots;
}

/* `writing` is held. */
static void load(struct disk_cache *cache)
{
	struct numbers numbers = {0};
	struct segment_table table = {0};
	struct segment *gone = NULL;

	list_segments(cache, &numbers);
	for (size_t i = 0; i < numbers.count; i++)
		load_segment(cache, numbers.items[i], &table);
	/* In a cache that became smaller, segments are, too. */
	if (cache->current && is_full(cache, 0))
		end_current(cache);
	pthread_mutex_lock(&cache->lock);
	cache->last_number = numbers.count > 0 ? *array_last(&numbers) : 0;
	(void)make_room(cache, 0, &gone);
	cache->loaded = true;
	pthread_mutex_unlock(&cache->lock);
	unlink_segments(cache, gone);
	array_clear(&numbers);
	array_clear(&table.spots);
}

void disk_cache_load(struct disk_cache *cache)
{
	pthread_mutex_lock(&cache->writing);
	if (!cache->stopped)
		load(cache);
	pthread_mutex_unlock(&cache->writing);
}

/* --- beginning and end --- */

struct disk_cache *disk_cache_new(const struct disk_cache_options *options)
{
	struct disk_cache *cache = xcalloc(1, sizeof(*cache));

	cache->options = *options;
	cache->files = open_packs_new();
	cache->segment_bytes = (uint32_t)MIN(MAX(options->limit / SEGMENTS_MIN, SEGMENT_BYTES_MIN), SEGMENT_BYTES);
	cache->segment_slots = cache->segment_bytes / BYTES_PER_SLOT;
	cache->state.limit = options->limit;
	cache->fd = -1;
	segments_init(&cache->segments);
	pthread_mutex_init(&cache->writing, NULL);
	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

void disk_cache_free(struct disk_cache *cache)
{
	if (!cache)
		return;
	if (cache->fd >= 0)
		close(cache->fd);
	open_packs_free(cache->files);
	segments_clear(&cache->segments);
	pthread_mutex_destroy(&cache->lock);
	pthread_mutex_destroy(&cache->writing);
	free(cache);
}

void disk_cache_stop(struct disk_cache *cache)
{
	if (!cache)
		return;
	pthread_mutex_lock(&cache->writing);
	pthread_mutex_lock(&cache->lock);
	cache->stopped = true;
	pthread_mutex_unlock(&cache->lock);
	pthread_mutex_unlock(&cache->writing);
}

struct disk_cache_state disk_cache_state(struct disk_cache *cache)
{
	struct disk_cache_state state;

	pthread_mutex_lock(&cache->lock);
	state = cache->state;
	state.bytes = cache->segments.bytes;
	state.blobs = cache->segments.blobs;
	pthread_mutex_unlock(&cache->lock);
	return state;
}
