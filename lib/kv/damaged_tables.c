#include "lib/kv/damaged_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/direct_file.h"
#include "lib/base/file.h"
#include "lib/kv/damage.h"
#include "lib/kv/inside.h"

const char *kv_table_state(bool missing, bool all_known)
{
	return missing ? "missing" : all_known ? "damaged" : "damaged, its end is unknown";
}

/* From the key of the part before it on: where its own first key is, only the part itself knows. */
static struct kv_key_range range_of(const struct table_named *table, const struct table_look *look, size_t first, size_t end)
{
	struct kv_key_range range = {.first = table->first, .first_len = table->first_len, .last = table->last, .last_len = table->last_len};

	if (first > 0)
		table_look_key(look, first - 1, &range.first, &range.first_len);
	if (end < look->parts.count)
		table_look_key(look, end - 1, &range.last, &range.last_len);
	return range;
}

int damaged_table_tell(const struct table_named *table, const struct table_look *look, bool missing, kv_damaged_table_fn each, void *arg)
{
	AUTO_ARRAY ARRAY(struct kv_key_range) ranges = {0};
	struct kv_damaged_table damaged = {.family = table->family, .missing = missing, .bytes = table->bytes, .blocks = look->parts.count};

	table_file_name(table->number, damaged.name);
	for (size_t i = 0; i < look->parts.count; i++) {
		const size_t first = i;
		while (i < look->parts.count && !look->parts.items[i].whole)
			i++;
		damaged.lost += i - first;
		if (i > first)
			array_add(&ranges, range_of(table, look, first, i));
	}
	if (!look->indexed)
		array_add(&ranges, range_of(table, look, look->parts.count, look->parts.count));
	damaged.all_known = look->indexed;
	damaged.ranges = ranges.items;
	damaged.range_count = ranges.count;
	return each(arg, &damaged);
}

static enum kv_family family_named(const char *name)
{
	int family = 0;

	while (family < KV_FAMILY_COUNT && strcmp(kv_family_names[family], name) != 0)
		family++;
	return (enum kv_family)family;
}

static bool is_live(struct kv *kv, const char *name)
{
	bool found = false;

	if (!kv_enter(kv))
		return false;
	const rocksdb_livefiles_t *live = rocksdb_livefiles(kv->db);
	kv_leave(kv);
	for (int i = 0; i < rocksdb_livefiles_count(live) && !found; i++)
		found = strcmp(rocksdb_livefiles_name(live, i) + 1, name) == 0;
	rocksdb_livefiles_destroy(live);
	return found;
}

struct telling {
	struct kv *kv;
	int dir;
	int (*step)(void *arg, uint64_t bytes);
	kv_damaged_table_fn each;
	void *arg;
};

/* Past the page cache, which may hold what the disk has no more. Where that is not to be had, its pages are dropped first. */
#define PAGE 4096U

/* There are filesystems that open a file so, and then do not read it: of larger blocks for example. */
static bool is_readable_so(int fd)
{
	void *page = NULL;
	bool can = true;

	if (posix_memalign(&page, PAGE, PAGE) == 0)
		can = pread(fd, page, PAGE, 0) >= 0 || !direct_is_unable(errno);
	free(page);
	return can;
}

static int open_past_cache(int dir, const char *name)
{
	int fd = file_open_inside(dir, name, O_RDONLY | O_DIRECT, 0);

	if (fd >= 0 && is_readable_so(fd))
		return fd;
	if (fd < 0 && !direct_is_unable(-fd))
		return fd;
	if (fd >= 0)
		close(fd);
	fd = file_open_inside(dir, name, O_RDONLY, 0);
	if (fd >= 0)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return fd;
}

static int look_at(struct telling *telling, const struct table_named *table)
{
	struct table_look look;
	char name[KV_TABLE_NAME_MAX];

	table_file_name(table->number, name);
	AUTO_CLOSE int fd = open_past_cache(telling->dir, name);
	if (fd == -ENOENT && !is_live(telling->kv, name))
		return 0;
	if (fd < 0 && fd != -ENOENT && fd != -EUCLEAN)
		return fd;
	int result = table_look(fd, table->bytes, telling->step, telling->arg, &look);
	if (result < 0)
		return result == -ENOTSUP ? 0 : result;
	if (!look.sound) {
		damage_found(telling->kv, table->family);
		result = damaged_table_tell(table, &look, fd < 0, telling->each, telling->arg);
	}
	table_look_clear(&look);
	return result;
}

int kv_each_damaged_table(struct kv *kv, bool all, int (*step)(void *arg, uint64_t bytes), kv_damaged_table_fn each, void *arg)
{
	AUTO_CLOSE int dir = open(kv->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct telling telling = {.kv = kv, .dir = dir, .step = step, .each = each, .arg = arg};
	const rocksdb_livefiles_t *live;
	int result = dir < 0 ? -errno : 0;

	if (result < 0)
		return result;
	if (!kv_enter(kv))
		return -EIO;
	live = rocksdb_livefiles(kv->db);
	kv_leave(kv);
	for (int i = 0; i < rocksdb_livefiles_count(live) && result == 0; i++) {
		struct table_named table = {.family = family_named(rocksdb_livefiles_column_family_name(live, i)),
		                            .bytes = rocksdb_livefiles_size(live, i)};
		if (sscanf(rocksdb_livefiles_name(live, i), "/%" SCNu64, &table.number) != 1 || table.family == KV_FAMILY_COUNT)
			continue;
		if (!all && kv_holds_chunks(table.family))
			continue;
		table.first = (const uint8_t *)rocksdb_livefiles_smallestkey(live, i, &table.first_len);
		table.last = (const uint8_t *)rocksdb_livefiles_largestkey(live, i, &table.last_len);
		result = look_at(&telling, &table);
	}
	rocksdb_livefiles_destroy(live);
	return result;
}
