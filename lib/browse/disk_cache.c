#include "lib/browse/disk_cache_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/file.h"

#define SEGMENT_BYTES (32U << 20)
#define SEGMENT_BYTES_MIN (128U << 10)
#define SEGMENTS_MIN 32     /* of a cache that is full */
#define BYTES_PER_SLOT 8192 /* a segment of smaller blobs is full by its table */

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
	for (size_t i = 0; segment && i < KINDS; i++)
		if (segment == cache->open[i].segment) {
			close(cache->open[i].fd);
			cache->open[i] = (struct open_segment){.fd = -1};
		}
	if (segment)
		segments_take_out(&cache->segments, segment, &gone);
	pthread_mutex_unlock(&cache->lock);
	disk_cache_unlink(cache, gone);
	pthread_mutex_unlock(&cache->writing);
}

static void forget(struct disk_cache *cache, const struct blob_spot *spot, bool is_damaged)
{
	pthread_mutex_lock(&cache->lock);
	segments_forget(&cache->segments, spot);
	cache->state.damaged += is_damaged;
	pthread_mutex_unlock(&cache->lock);
	if (is_damaged)
		disk_cache_tell(cache, &cache->told_damage, "something in the cache was damaged, and is fetched anew", 0);
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

/* --- beginning and end --- */

struct disk_cache *disk_cache_new(const struct disk_cache_options *options)
{
	struct disk_cache *cache = xcalloc(1, sizeof(*cache));

	cache->options = *options;
	cache->files = open_packs_new();
	cache->segment_bytes = (uint32_t)MIN(MAX(options->limit / SEGMENTS_MIN, SEGMENT_BYTES_MIN), SEGMENT_BYTES);
	cache->segment_slots = cache->segment_bytes / BYTES_PER_SLOT;
	cache->state.limit = options->limit;
	for (size_t i = 0; i < KINDS; i++)
		cache->open[i].fd = -1;
	segments_init(&cache->segments);
	pthread_mutex_init(&cache->writing, NULL);
	pthread_cond_init(&cache->changed, NULL);
	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

void disk_cache_free(struct disk_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < KINDS; i++)
		if (cache->open[i].fd >= 0)
			close(cache->open[i].fd);
	pins_clear(&cache->pins);
	open_packs_free(cache->files);
	segments_clear(&cache->segments);
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->changed);
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
	pthread_cond_broadcast(&cache->changed);
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
	state.pinned = cache->segments.pinned;
	state.pinned_missing = cache->segments.pinned - MIN(cache->segments.pinned_here, cache->segments.pinned);
	pthread_mutex_unlock(&cache->lock);
	return state;
}
