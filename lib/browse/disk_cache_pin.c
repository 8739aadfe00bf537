#include "lib/browse/disk_cache_inside.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/base/error.h"

#define AT_ONCE 1024 /* names that are gone through while readers wait */

/* `writing` is held, so that nothing goes meanwhile. A pin needs them, or does not any more. */
static void count_each(struct disk_cache *cache, const struct pin_entries *entries, void (*count)(struct segments *, uint64_t key, uint32_t length))
{
	for (size_t i = 0, end; i < entries->count; i = end) {
		end = MIN(i + AT_ONCE, entries->count);
		pthread_mutex_lock(&cache->lock);
		for (size_t at = i; at < end; at++)
			count(&cache->segments, entries->items[at].key, entries->items[at].length);
		pthread_mutex_unlock(&cache->lock);
	}
}

int disk_cache_read_pins(struct disk_cache *cache)
{
	struct pins pins = {0}, before;
	struct pin_entries entries = {0};
	bool told = false;
	size_t damaged = 0;
	int r = pin_files_read(cache->options.dir, &pins, &entries, &damaged);

	if (r == 0) {
		pthread_mutex_lock(&cache->lock);
		segments_unpin_all(&cache->segments);
		before = cache->pins;
		cache->pins = pins;
		cache->pins_known = true;
		pthread_mutex_unlock(&cache->lock);
		pins = before;
		count_each(cache, &entries, segments_pin);
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

/* `writing` is held. ret_lost: it is not known what it needed. */
static int remove_at(struct disk_cache *cache, size_t at, bool *ret_lost)
{
	struct pin_entries entries = {0};
	const struct pin gone = cache->pins.items[at];
	const int known = pin_file_read(cache->options.dir, gone.number, &entries);
	int r = pin_file_remove(cache->options.dir, gone.number);

	*ret_lost = r == 0 && known < 0;
	if (r == 0) {
		pthread_mutex_lock(&cache->lock);
		array_remove(&cache->pins, at, 1);
		pthread_mutex_unlock(&cache->lock);
		free(gone.path);
	}
	if (r == 0 && known == 0)
		count_each(cache, &entries, segments_unpin);
	array_clear(&entries);
	return r;
}

/* `writing` is held. Those of the same path but number `but`. */
static int remove_pins(struct disk_cache *cache, const struct pin *pin, uint32_t but, size_t *ret_removed)
{
	bool lost, any_lost = false;
	size_t i = 0;
	int again, r = 0;

	*ret_removed = 0;
	while (i < cache->pins.count && r == 0) {
		const struct pin *one = &cache->pins.items[i];

		if (one->number == but || (pin && !is_same(one, pin))) {
			i++;
			continue;
		}
		r = remove_at(cache, i, &lost);
		any_lost |= lost;
		*ret_removed += r == 0;
	}
	again = any_lost ? disk_cache_read_pins(cache) : 0;
	return r < 0 ? r : again;
}

/* `writing` is held. */
static void add_to_list(struct disk_cache *cache, const struct pin *pin)
{
	struct pin own = *pin;

	own.path = xstrdup(pin->path);
	pthread_mutex_lock(&cache->lock);
	array_add(&cache->pins, own);
	pthread_mutex_unlock(&cache->lock);
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
	count_each(cache, entries, segments_pin);
	r = holds_too_much(cache) ? -ENOBUFS : pin_file_write(cache->options.dir, pin, entries);
	if (r < 0) {
		count_each(cache, entries, segments_unpin);
		return r;
	}
	add_to_list(cache, pin);
	return remove_pins(cache, pin, pin->number, &removed);
}

/* `writing` is held. Until it is known what is pinned. If that could not be read it is read now: a new pin would take the place of an old one. */
static int wait_loaded(struct disk_cache *cache)
{
	while (!cache->loaded && !cache->stopped)
		pthread_cond_wait(&cache->changed, &cache->writing);
	if (cache->stopped)
		return -ESHUTDOWN;
	return cache->pins_known ? 0 : disk_cache_read_pins(cache);
}

int disk_cache_pin(struct disk_cache *cache, const struct pin *pin, const struct pin_entries *entries)
{
	struct pin copy = *pin;
	int r;

	pthread_mutex_lock(&cache->writing);
	r = wait_loaded(cache);
	if (r == 0)
		r = add_pin(cache, &copy, entries);
	pthread_mutex_unlock(&cache->writing);
	return r;
}

int disk_cache_unpin(struct disk_cache *cache, const struct pin *pin)
{
	size_t removed = 0;
	int r;

	pthread_mutex_lock(&cache->writing);
	r = wait_loaded(cache);
	if (r == 0)
		r = remove_pins(cache, pin, 0, &removed);
	pthread_mutex_unlock(&cache->writing);
	return r < 0 ? r : removed == 0 ? -ENOENT : 0;
}

static uint64_t count_missing(struct disk_cache *cache, const struct pin_entries *entries)
{
	struct blob_spot spot;
	uint64_t bytes = 0;

	for (size_t i = 0, end; i < entries->count; i = end) {
		end = MIN(i + AT_ONCE, entries->count);
		pthread_mutex_lock(&cache->lock);
		for (size_t at = i; at < end; at++) {
			const struct pin_entry *entry = &entries->items[at];

			if (!segments_find(&cache->segments, entry->key, entry->length & SEGMENT_TREE, &spot))
				bytes += segment_record_bytes(entry->length);
		}
		pthread_mutex_unlock(&cache->lock);
	}
	return bytes;
}

/* `writing` is held. */
static int read_pin(const struct disk_cache *cache, const struct pin *pin, struct pin_entries *entries)
{
	for (size_t i = 0; i < cache->pins.count; i++)
		if (is_same(&cache->pins.items[i], pin))
			return pin_file_read(cache->options.dir, cache->pins.items[i].number, entries);
	return -ENOENT;
}

int disk_cache_missing(struct disk_cache *cache, const struct pin *pin, uint64_t *ret_bytes)
{
	struct pin_entries entries = {0};
	int r;

	pthread_mutex_lock(&cache->writing);
	r = wait_loaded(cache);
	if (r == 0)
		r = read_pin(cache, pin, &entries);
	pthread_mutex_unlock(&cache->writing);
	if (r == 0)
		*ret_bytes = count_missing(cache, &entries);
	array_clear(&entries);
	return r;
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
