#include "lib/browse/disk_cache_inside.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/base/error.h"

int disk_cache_read_pins(struct disk_cache *cache)
{
	struct pins pins = {0}, before;
	struct pin_entries entries = {0};
	bool told = false;
	size_t damaged = 0;
	int r = pin_files_read(cache->options.dir, &pins, &entries, &damaged);

	if (r == 0) {
		pthread_mutex_lock(&cache->lock);
		segments_unpin(&cache->segments);
		for (size_t i = 0; i < entries.count; i++)
			segments_pin(&cache->segments, entries.items[i].key, entries.items[i].length);
		before = cache->pins;
		cache->pins = pins;
		pthread_mutex_unlock(&cache->lock);
		pins = before;
	}
	if (damaged > 0)
		disk_cache_tell(cache, &told, "what says what is pinned was damaged: something may not be pinned any more", 0);
	pins_clear(&pins);
	array_clear(&entries);
	return r;
}

static bool is_same(const struct pin *pin, const struct pin *other)
{
	return blob_id_equal(&pin->backup, &other->backup) && strcmp(pin->path, other->path) == 0;
}

/* `writing` is held. Whether it holds more than may be pinned. */
static bool holds_too_much(struct disk_cache *cache)
{
	bool too_much;

	pthread_mutex_lock(&cache->lock);
	too_much = cache->segments.pinned > cache->state.limit / 8 * 7;
	pthread_mutex_unlock(&cache->lock);
	return too_much;
}

/* `writing` is held. Those of the same path but number `but`. */
static int remove_pins(struct disk_cache *cache, const struct pin *pin, uint32_t but, size_t *ret_removed)
{
	int r = 0;

	*ret_removed = 0;
	for (size_t i = 0; i < cache->pins.count && r == 0; i++) {
		const struct pin *one = &cache->pins.items[i];

		if (one->number == but || (pin && !is_same(one, pin)))
			continue;
		r = pin_file_remove(cache->options.dir, one->number);
		*ret_removed += r == 0;
	}
	if (*ret_removed > 0) {
		const int again = disk_cache_read_pins(cache);

		r = r < 0 ? r : again;
	}
	return r;
}

/* `writing` is held. */
static int add_pin(struct disk_cache *cache, struct pin *pin, const struct pin_entries *entries)
{
	size_t removed;
	int r;

	pin->since = (uint64_t)time(NULL);
	pin->number = 1;
	for (size_t i = 0; i < cache->pins.count; i++)
		pin->number = MAX(pin->number, cache->pins.items[i].number + 1);
	r = pin_file_write(cache->options.dir, pin, entries);
	if (r < 0)
		return r;
	r = disk_cache_read_pins(cache);
	if (r == 0 && holds_too_much(cache))
		r = -ENOBUFS;
	if (r == 0)
		return remove_pins(cache, pin, pin->number, &removed);
	(void)!pin_file_remove(cache->options.dir, pin->number);
	(void)!disk_cache_read_pins(cache);
	return r;
}

int disk_cache_pin(struct disk_cache *cache, const struct pin *pin, const struct pin_entries *entries)
{
	struct pin copy = *pin;
	int r;

	pthread_mutex_lock(&cache->writing);
	r = cache->stopped || !cache->loaded ? -ESHUTDOWN : add_pin(cache, &copy, entries);
	pthread_mutex_unlock(&cache->writing);
	return r;
}

int disk_cache_unpin(struct disk_cache *cache, const struct pin *pin)
{
	size_t removed = 0;
	int r;

	pthread_mutex_lock(&cache->writing);
	r = cache->stopped || !cache->loaded ? -ESHUTDOWN : remove_pins(cache, pin, 0, &removed);
	pthread_mutex_unlock(&cache->writing);
	return r < 0 ? r : removed == 0 ? -ENOENT : 0;
}

void disk_cache_pins(struct disk_cache *cache, struct pins *ret_pins)
{
	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; i < cache->pins.count; i++) {
		struct pin pin = cache->pins.items[i];

		pin.path = xstrdup(pin.path);
		array_add(ret_pins, pin);
	}
	pthread_mutex_unlock(&cache->lock);
}
