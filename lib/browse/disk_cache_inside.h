/* What the files of disk_cache.h share. Not for others. They stand in this order: disk_cache_write, disk_cache_pin, disk_cache_load, disk_cache. */
#ifndef CORPUSFS_BROWSE_DISK_CACHE_INSIDE_H
#define CORPUSFS_BROWSE_DISK_CACHE_INSIDE_H

#include <pthread.h>

#include "lib/browse/disk_cache.h"
#include "lib/browse/segments.h"
#include "lib/repository/open_packs.h"

/* A segment that is written to. */
struct open_segment {
	int fd;                  /* -1: none is */
	uint32_t used, slots;    /* of its table */
	struct segment *segment; /* or NULL */
};
/* What is pinned, and what is not, goes to segments of its own, so that those that go have little in them that must stay. */
enum { LOOSE, PINNED, KINDS };

struct disk_cache {
	struct disk_cache_options options;
	struct open_packs *files; /* that are read */
	uint32_t segment_bytes, segment_slots;

	pthread_mutex_t writing; /* guards what follows, and that one thread at a time changes files */
	pthread_cond_t changed;  /* `loaded` or `stopped` */
	struct open_segment open[KINDS];

	pthread_mutex_t lock; /* guards all below; `open`, their lengths, `last_number` and `pins` change only while `writing` is held, too */
	struct segments segments;
	uint32_t last_number;
	struct pins pins;
	struct disk_cache_state state; /* but for what `segments` knows */
	bool loaded, stopped, pins_known, told_damage, told_full, told_pins; /* those before told: change only while `writing` is held, too */
};

/* --- disk_cache_write.c; `writing` is held --- */

void disk_cache_unlink(struct disk_cache *cache, struct segment *gone); /* without the lock */
bool disk_cache_is_full(const struct disk_cache *cache, const struct open_segment *open, uint64_t more);
void disk_cache_end_open(struct disk_cache *cache, struct open_segment *open);
/* Until `more` bytes have room, of what is LOOSE or PINNED; false: they never will. What is written to, or pinned, stays. */
bool disk_cache_make_room(struct disk_cache *cache, uint64_t more, size_t kind);
/* Once. Nothing is held but perhaps `writing`. */
void disk_cache_tell(struct disk_cache *cache, bool *told, const char *what, int code);

/* --- disk_cache_pin.c; `writing` is held --- */

/* All that the files of pins name, anew. Readers wait while all that is known is gone through. */
WARN_UNUSED int disk_cache_read_pins(struct disk_cache *cache);

#endif
