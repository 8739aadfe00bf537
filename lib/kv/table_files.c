#include "lib/kv/table_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/clock.h"
#include "lib/base/descriptors.h"
#include "lib/kv/inside.h"

/* Files come and go with ingestion and compaction. Listing them holds a lock of the database: at most a hundredth of the time. */
#define LIST_AGE_MS 1000
#define LIST_SHARE 100
#define OPEN_SHARE 16
#define OPEN_MIN 4
#define OPEN_MAX 1024

struct listed {
	char name[TABLE_NAME_LEN];
	uint64_t first, last, size;
	struct table_file *file; /* a reference; NULL: not open */
};

struct table_files {
	struct kv *kv;
	enum kv_family family;
	size_t open_max;
	_Atomic uint64_t uses;
	pthread_rwlock_t lock; /* guards all below; a leaf */
	struct listed *items;  /* by first */
	size_t count, open_count;
	uint64_t stale_ms;     /* from then on the list may be made anew */
};

static size_t open_max(void)
{
	return (size_t)MIN(MAX(descriptors_raise() / OPEN_SHARE, (uint64_t)OPEN_MIN), (uint64_t)OPEN_MAX);
}

struct table_files *table_files_new(struct kv *kv, enum kv_family family)
{
	struct table_files *files = xcalloc(1, sizeof(*files));

	files->kv = kv;
	files->family = family;
	files->open_max = open_max();
	pthread_rwlock_init(&files->lock, NULL);
	return files;
}

void table_files_put(struct table_file *file)
{
	if (!file || atomic_fetch_sub(&file->refs, 1) != 1)
		return;
	if (file->map)
		munmap(file->map, file->size);
	close(file->fd);
	if (file->direct_fd >= 0)
		close(file->direct_fd);
	free(file);
}

static void put_all(struct listed *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		table_files_put(items[i].file);
	free(items);
}

void table_files_free(struct table_files *files)
{
	if (!files)
		return;
	put_all(files->items, files->count);
	pthread_rwlock_destroy(&files->lock);
	free(files);
}

/* --- which file --- */

static int by_first(const void *left, const void *right)
{
	const struct listed *a = left, *b = right;

	return a->first < b->first ? -1 : a->first > b->first;
}

static bool list_one(const struct table_files *files, const rocksdb_livefiles_t *live, int index, struct listed *ret_listed)
{
	const char *name = rocksdb_livefiles_name(live, index), *key;
	size_t len;

	if (strcmp(rocksdb_livefiles_column_family_name(live, index), kv_family_names[files->family]) != 0 || strlen(name) >= TABLE_NAME_LEN)
		return false;
	*ret_listed = (struct listed){.size = rocksdb_livefiles_size(live, index)};
	memcpy(ret_listed->name, name, strlen(name) + 1);
	key = rocksdb_livefiles_smallestkey(live, index, &len);
	ret_listed->first = kv_number_of(key, len);
	key = rocksdb_livefiles_largestkey(live, index, &len);
	ret_listed->last = kv_number_of(key, len);
	return true;
}

/* Moves the open files over to those of the new list that are the same. Both lists are in order. */
static size_t keep_open(struct listed *old, size_t old_count, struct listed *fresh, size_t fresh_count)
{
	size_t at = 0, kept = 0;

	for (size_t i = 0; i < fresh_count; i++) {
		while (at < old_count && old[at].first < fresh[i].first)
			at++;
		for (size_t k = at; k < old_count && old[k].first == fresh[i].first; k++) {
			if (!old[k].file || strcmp(old[k].name, fresh[i].name) != 0)
				continue;
			fresh[i].file = steal_ptr(old[k].file);
			kept++;
		}
	}
	return kept;
}

/* Caller holds the lock exclusively. The old list is returned, to be given up without the lock. */
static struct listed *list_anew(struct table_files *files, size_t *ret_old_count)
{
	const uint64_t began = clock_ms();
	const rocksdb_livefiles_t *live = NULL;
	if (kv_enter(files->kv)) {
		live = rocksdb_livefiles(files->kv->db);
		kv_leave(files->kv);
	}
	const int total = live ? rocksdb_livefiles_count(live) : 0;
	struct listed *fresh = xcalloc((size_t)total + 1, sizeof(*fresh)), *old = files->items;
	size_t count = 0;

	for (int i = 0; i < total; i++)
		count += list_one(files, live, i, &fresh[count]);
	if (live)
		rocksdb_livefiles_destroy(live);
	qsort(fresh, count, sizeof(*fresh), by_first);
	files->open_count = keep_open(old, files->count, fresh, count);
	*ret_old_count = files->count;
	files->items = fresh;
	files->count = count;
	files->stale_ms = clock_ms() + MAX(LIST_AGE_MS, LIST_SHARE * (clock_ms() - began));
	return old;
}

/* Not when that was done a moment ago, unless `always`. */
static void list_tables(struct table_files *files, bool always)
{
	struct listed *old = NULL;
	size_t old_count = 0;

	pthread_rwlock_wrlock(&files->lock);
	if (always || clock_ms() >= files->stale_ms)
		old = list_anew(files, &old_count);
	pthread_rwlock_unlock(&files->lock);
	put_all(old, old_count);
}

void table_files_refresh(struct table_files *files)
{
	bool any;

	pthread_rwlock_rdlock(&files->lock);
	any = files->open_count > 0;
	pthread_rwlock_unlock(&files->lock);
	if (any)
		list_tables(files, true);
}

/* The last one that begins at or before the number; NULL when it ends before. Caller holds the lock. */
static struct listed *find_listed(struct table_files *files, uint64_t number)
{
	size_t low = 0, high = files->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (files->items[middle].first <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && files->items[low - 1].last >= number ? &files->items[low - 1] : NULL;
}

/* --- open files --- */

static void use_file(struct table_files *files, struct table_file *file)
{
	atomic_fetch_add(&file->refs, 1);
	atomic_store(&file->used, atomic_fetch_add(&files->uses, 1) + 1);
}

static int open_file(const struct table_files *files, const struct listed *listed, struct table_file **ret_file)
{
	struct table_file *file;
	char path[PATH_MAX];
	void *map;
	int fd;

	if (snprintf(path, sizeof(path), "%s%s", files->kv->path, listed->name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* who reads ahead is lib/chunk, which knows what is wanted */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	file = xcalloc(1, sizeof(*file));
	memcpy(file->name, listed->name, sizeof(file->name));
	file->first = listed->first;
	file->last = listed->last;
	file->size = listed->size;
	file->fd = fd;
	file->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	map = file->size ? mmap(NULL, file->size, PROT_NONE, MAP_SHARED, fd, 0) : MAP_FAILED;
	file->map = map == MAP_FAILED ? NULL : map;
	file->refs = 1;
	*ret_file = file;
	return 0;
}

/* Caller holds the lock exclusively. The reference is the caller's then. */
static struct table_file *take_least_used(struct table_files *files)
{
	struct listed *least = NULL;

	for (size_t i = 0; i < files->count; i++) {
		struct listed *item = &files->items[i];
		if (item->file && (!least || item->file->used < least->file->used))
			least = item;
	}
	if (!least)
		return NULL;
	files->open_count--;
	return steal_ptr(least->file);
}

/* Takes over the caller's reference and gives one of the file that is kept, which another thread may have opened first. */
static struct table_file *keep_file(struct table_files *files, struct table_file *file)
{
	struct table_file *surplus = NULL, *least = NULL;
	struct listed *listed;

	pthread_rwlock_wrlock(&files->lock);
	listed = find_listed(files, file->first);
	if (listed && strcmp(listed->name, file->name) == 0) {
		if (listed->file) {
			surplus = file;
			file = listed->file;
		} else {
			if (files->open_count >= files->open_max)
				least = take_least_used(files);
			listed->file = file;
			files->open_count++;
		}
		use_file(files, file);
	}
	pthread_rwlock_unlock(&files->lock);
	table_files_put(surplus);
	table_files_put(least);
	return file;
}

static int get_listed(struct table_files *files, uint64_t number, struct table_file **ret_file)
{
	struct table_file *file = NULL;
	struct listed listed = {0}, *found;
	int result;

	pthread_rwlock_rdlock(&files->lock);
	found = find_listed(files, number);
	if (found) {
		listed = *found;
		file = found->file;
		if (file)
			use_file(files, file);
	}
	pthread_rwlock_unlock(&files->lock);
	if (!found)
		return -ENOENT;
	if (!file) {
		result = open_file(files, &listed, &file);
		if (result < 0)
			return result;
		file = keep_file(files, file);
	}
	*ret_file = file;
	return 0;
}

int table_files_get(struct table_files *files, uint64_t number, struct table_file **ret_file)
{
	int result = get_listed(files, number, ret_file);

	if (result != -ENOENT)
		return result;
	/* another thread may have listed them since we looked */
	list_tables(files, false);
	return get_listed(files, number, ret_file);
}
