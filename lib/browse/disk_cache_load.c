#include "lib/browse/disk_cache_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"

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
	struct open_segment *open = &cache->open[LOOSE];
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
	open->segment = segments_add(&cache->segments, number, table->bytes);
	for (size_t i = 0; i < table->spots.count; i++)
		segments_set(&cache->segments, &table->spots.items[i]);
	pthread_mutex_unlock(&cache->lock);
	/* The last one is written on. */
	if (open->fd >= 0)
		close(open->fd);
	open->fd = fd;
	fd = -1;
	open->used = table->used;
	open->slots = table->slots;
}

/* `writing` is held. */
static void load(struct disk_cache *cache)
{
	struct numbers numbers = {0};
	struct segment_table table = {0};
	struct open_segment *open = &cache->open[LOOSE];
	int r;

	list_segments(cache, &numbers);
	for (size_t i = 0; i < numbers.count; i++)
		load_segment(cache, numbers.items[i], &table);
	/* In a cache that became smaller, segments are, too. */
	if (open->segment && disk_cache_is_full(cache, open, 0))
		disk_cache_end_open(cache, open);
	pthread_mutex_lock(&cache->lock);
	cache->last_number = numbers.count > 0 ? *array_last(&numbers) : 0;
	cache->loaded = true;
	pthread_mutex_unlock(&cache->lock);
	r = disk_cache_read_pins(cache);
	/* Nothing may go before it is known what must stay. */
	if (r == 0) {
		(void)disk_cache_make_room(cache, 0, LOOSE);
	} else {
		pthread_mutex_lock(&cache->lock);
		cache->state.failed = true;
		pthread_mutex_unlock(&cache->lock);
		disk_cache_tell(cache, &cache->told_pins, "what is pinned cannot be read, and nothing more is kept in the cache", r);
	}
	array_clear(&numbers);
	array_clear(&table.spots);
}

void disk_cache_load(struct disk_cache *cache)
{
	pthread_mutex_lock(&cache->writing);
	if (!cache->stopped)
		load(cache);
	pthread_cond_broadcast(&cache->changed);
	pthread_mutex_unlock(&cache->writing);
}
