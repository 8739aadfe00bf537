/* For the tests of what is pinned in the cache on disk. */
#ifndef CORPUSFS_TESTS_CACHED_PINS_H
#define CORPUSFS_TESTS_CACHED_PINS_H

#include "tests/unit/cached_place.h"

/* Blobs from one number on, before another one, each so many apart. */
struct some {
	uint32_t from, to, apart;
};

static __attribute__((unused)) int pin_some(struct disk_cache *cache, const char *path, struct some some)
{
	const struct pin pin = {.path = (char *)path, .files = 1, .backup = {.bytes = {7}}};
	struct pin_entries entries = {0};
	struct content content;
	int r;

	for (uint32_t i = some.from; i < some.to; i += some.apart) {
		make(&content, i);
		array_add(&entries, (struct pin_entry){segment_key(&content.id), (uint32_t)content.len});
	}
	r = disk_cache_pin(cache, &pin, &entries);
	array_clear(&entries);
	return r;
}

static __attribute__((unused)) uint64_t missing(struct disk_cache *cache, const char *path)
{
	uint64_t bytes = 0;

	assert_int_equal(disk_cache_missing(cache, &(struct pin){.path = (char *)path, .backup = {.bytes = {7}}}, &bytes), 0);
	return bytes;
}

#endif
