#include "lib/browse/disk_cache_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <utlist.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

#define RECORD_MAX (1U << 30)

void disk_cache_unlink(struct disk_cache *cache, struct segment *gone)
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

void disk_cache_tell(struct disk_cache *cache, bool *told, const char *what, int code)
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

/* --- a segment that is written to --- */

void disk_cache_end_open(struct disk_cache *cache, struct open_segment *open)
{
	if (open->fd >= 0)
		close(open->fd);
	open->fd = -1;
	pthread_mutex_lock(&cache->lock);
	open->segment = NULL;
	pthread_mutex_unlock(&cache->lock);
}

static int begin(struct disk_cache *cache, struct open_segment *open)
{
	int r = segment_create(cache->options.dir, cache->last_number + 1, cache->segment_slots, &open->fd);

	if (r < 0)
		return r;
	open->used = 0;
	open->slots = cache->segment_slots;
	pthread_mutex_lock(&cache->lock);
	open->segment = segments_add(&cache->segments, ++cache->last_number, segment_begin(cache->segment_slots));
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

/* An empty one takes a record of any length. */
bool disk_cache_is_full(const struct disk_cache *cache, const struct open_segment *open, uint64_t more)
{
	return open->used == open->slots || (open->used > 0 && open->segment->bytes + more > cache->segment_bytes);
}

/* Of what could not be written; if something of it stays, it is of no account. */
static void give_up(struct disk_cache *cache, struct open_segment *open)
{
	if (open->segment)
		(void)!ftruncate(open->fd, (off_t)open->segment->bytes);
	disk_cache_end_open(cache, open);
}

/* What is pinned is on the disk. */
static int sync_pinned(const struct disk_cache *cache)
{
	const int fd = cache->open[PINNED].fd;

	return fd >= 0 && (fdatasync(fd) < 0 || fsync(cache->options.dir) < 0) ? -errno : 0;
}

/* There is room for it. */
static int append(struct disk_cache *cache, struct open_segment *open, const struct blob_id *id, uint32_t length, const void *data)
{
	struct blob_spot spot = {.key = segment_key(id), .length = length};
	const uint64_t bytes = segment_record_bytes(length);
	int r = 0;

	if (open->segment && disk_cache_is_full(cache, open, bytes)) {
		r = open == &cache->open[PINNED] ? sync_pinned(cache) : 0;
		disk_cache_end_open(cache, open);
	}
	if (r == 0 && !open->segment)
		r = begin(cache, open);
	if (r == 0) {
		spot.segment = open->segment->number;
		spot.offset = (uint32_t)open->segment->bytes;
		r = segment_write(open->fd, open->used, &spot, id, data);
	}
	if (r < 0) {
		give_up(cache, open);
		return r;
	}
	open->used++;
	pthread_mutex_lock(&cache->lock);
	segments_grow(&cache->segments, open->segment, bytes);
	segments_set(&cache->segments, &spot);
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

/* --- room --- */

static bool is_open(const struct disk_cache *cache, const struct segment *segment)
{
	return segment == cache->open[LOOSE].segment || segment == cache->open[PINNED].segment;
}

/*
 * Hardly anything would come of moving what must stay: less than such a part of the segment. What is pinned and comes has hardly any other room: with seven
 * eighths of the limit, a segment that is left free and one that is written to, it is enough if no more than that is lost.
 */
static const uint64_t worth_moving[KINDS] = {[LOOSE] = 4, [PINNED] = 32};

static bool must_stay(const struct segment *segment, size_t kind)
{
	const uint64_t needed = MIN(segment->pinned + segment_begin((uint32_t)segment->blobs), segment->bytes);

	return segment->pinned > 0 && (segment->stays || segment->bytes - needed < segment->bytes / worth_moving[kind]);
}

/* The lock is held. For what is of this kind; NULL: none can go. */
static struct segment *next_to_go(const struct disk_cache *cache, size_t kind)
{
	struct segment *segment = cache->segments.by_use;

	while (segment && (is_open(cache, segment) || must_stay(segment, kind)))
		segment = segment->next;
	return segment;
}

static bool is_pinned_at(struct disk_cache *cache, const struct blob_spot *spot)
{
	struct blob_spot now;
	bool is;

	pthread_mutex_lock(&cache->lock);
	is = segments_find(&cache->segments, spot->key, spot->length & SEGMENT_TREE, &now) && now.segment == spot->segment && now.offset == spot->offset &&
	     now.pins > 0;
	pthread_mutex_unlock(&cache->lock);
	return is;
}

static int move_pinned(struct disk_cache *cache, int fd, const struct blob_spots *spots)
{
	AUTO_BUF plain = BUF_INIT;
	struct blob_id id;
	int r = 0;

	for (size_t i = 0; i < spots->count && r == 0; i++) {
		const struct blob_spot *spot = &spots->items[i];

		if (!is_pinned_at(cache, spot))
			continue;
		r = segment_read_any(fd, spot, &id, &plain);
		if (r == 0)
			r = append(cache, &cache->open[PINNED], &id, spot->length, plain.data);
		if (r == -EBADMSG) {
			pthread_mutex_lock(&cache->lock);
			segments_forget(&cache->segments, spot);
			cache->state.damaged++;
			pthread_mutex_unlock(&cache->lock);
			r = 0;
		}
	}
	return r;
}

/* Moves what is pinned out of a segment, which can go as soon as that is on the disk in its new place. If that fails, it stays, whole. */
static void spare(struct disk_cache *cache, struct segment *segment)
{
	struct segment_table table = {0};
	char name[SEGMENT_NAME];
	int r;

	segment_name(segment->number, name);
	AUTO_CLOSE int fd = file_open_inside(cache->options.dir, name, O_RDONLY, 0);
	r = fd < 0 ? fd : segment_read_table(fd, segment->number, &table);
	if (r == 0)
		r = move_pinned(cache, fd, &table.spots);
	if (r == 0)
		r = sync_pinned(cache);
	array_clear(&table.spots);
	pthread_mutex_lock(&cache->lock);
	segment->stays = r < 0 || segment->pinned > 0;
	pthread_mutex_unlock(&cache->lock);
}

/* What is pinned is moved before the old copy goes: there is always room for one segment of it. The lock is held. */
static uint64_t limit_of(const struct disk_cache *cache)
{
	return cache->state.limit - MIN(cache->segment_bytes, cache->state.limit);
}

bool disk_cache_make_room(struct disk_cache *cache, uint64_t more, size_t kind)
{
	struct segment *oldest = NULL;
	bool has_room;

	do {
		struct segment *gone = NULL;

		pthread_mutex_lock(&cache->lock);
		has_room = cache->segments.bytes + more <= limit_of(cache);
		oldest = has_room ? NULL : next_to_go(cache, LOOSE);
		if (!has_room && !oldest && kind == PINNED)
			oldest = next_to_go(cache, PINNED);
		if (oldest && oldest->pinned == 0) {
			segments_take_out(&cache->segments, oldest, &gone);
			cache->state.evicted++;
		}
		pthread_mutex_unlock(&cache->lock);
		disk_cache_unlink(cache, gone);
		if (oldest && !gone)
			spare(cache, oldest);
	} while (oldest);
	return has_room;
}

/* --- what comes --- */

/* Of what could not be written. A disk that is full has more room when the cache has less. */
static void note_failure(struct disk_cache *cache, int code)
{
	const bool is_full = code == -ENOSPC || code == -EDQUOT;

	pthread_mutex_lock(&cache->lock);
	if (is_full)
		cache->state.limit = MIN(cache->state.limit, cache->segments.bytes / 16 * 15);
	cache->state.failed = !is_full || cache->state.limit < DISK_CACHE_MIN / 4;
	pthread_mutex_unlock(&cache->lock);
	(void)disk_cache_make_room(cache, 0, LOOSE);
	disk_cache_tell(cache, &cache->told_full, is_full ? "the disk of the cache is full, and the cache stays smaller" : "nothing more is kept in the cache",
	                code);
}

static void put(struct disk_cache *cache, const struct blob_id *id, uint32_t length, const void *data, size_t kind)
{
	int r;

	if (!disk_cache_make_room(cache, segment_record_bytes(length) + segment_begin(cache->segment_slots), kind)) {
		if (cache->segments.pinned > 0)
			disk_cache_tell(cache, &cache->told_pins, "what is pinned leaves no room in the cache for anything else", 0);
		return;
	}
	r = append(cache, &cache->open[kind], id, length, data);
	if (r < 0)
		note_failure(cache, r);
}

void disk_cache_put(struct disk_cache *cache, const struct blob_id *id, bool is_tree, const void *data, size_t len)
{
	struct blob_spot spot = {0};
	bool wanted;

	pthread_mutex_lock(&cache->writing);
	pthread_mutex_lock(&cache->lock);
	wanted = cache->loaded && !cache->stopped && !cache->state.failed && len <= MIN(cache->state.limit / 8, RECORD_MAX) &&
	         !segments_find(&cache->segments, segment_key(id), is_tree, &spot);
	pthread_mutex_unlock(&cache->lock);
	if (wanted)
		put(cache, id, (uint32_t)len | (is_tree ? SEGMENT_TREE : 0), data, spot.pins > 0 ? PINNED : LOOSE);
	pthread_mutex_unlock(&cache->writing);
}
