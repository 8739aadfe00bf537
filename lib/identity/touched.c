#include "lib/identity/touched.h"

#include <errno.h>
#include <sys/stat.h>

#define SLICE 4096

/* A touched inode. */
struct item {
	uint64_t ino, parent;
	uint32_t nlink, seen; /* names there are, and names that the walk came to */
	bool exists, directory;
	int result;
};

struct directory {
	uint64_t ino;
	bool reached;
	UT_hash_handle hh;
};

struct touched {
	struct item *items; /* by inode number */
	size_t count, cap;
	struct directory *directories; /* uthash by ino */
	/* while loading */
	struct node_source *source;
	size_t slice;
};

void touched_free(struct touched *touched)
{
	struct directory *directory, *next;

	if (!touched)
		return;
	HASH_ITER(hh, touched->directories, directory, next) {
		HASH_DEL(touched->directories, directory);
		free(directory);
	}
	free(touched->items);
	free(touched);
}

static int collect(struct touched *touched, const struct interval *interval)
{
	struct node_source *source = touched->source;
	struct small_key first = touched_key(source->family, interval->first, 0);
	struct small_key end = touched_key(source->family, interval->last, UINT64_MAX);
	struct kv_iter *iter = kv_iter_new(source->store->kv, KV_TOUCHED, first.bytes, first.len, end.bytes, end.len);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		uint32_t family;
		uint64_t epoch, ino;
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);
		result = touched_key_parse(key, len, &family, &epoch, &ino);
		if (touched->count == touched->cap) {
			touched->cap = MAX(touched->cap * 2, 64U);
			touched->items = xrealloc(touched->items, touched->cap * sizeof(*touched->items));
		}
		if (result == 0)
			touched->items[touched->count++] = (struct item){.ino = ino};
		if (touched->count % SLICE == 0 && source->cancelled && source->cancelled(source->arg))
			result = -ECANCELED;
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

static int by_ino(const void *a, const void *b)
{
	uint64_t left = ((const struct item *)a)->ino, right = ((const struct item *)b)->ino;

	return left < right ? -1 : left > right;
}

/* Sorted, each once. */
static void settle(struct touched *touched)
{
	size_t kept = 0;

	if (touched->count == 0)
		return;
	qsort(touched->items, touched->count, sizeof(*touched->items), by_ino);
	for (size_t i = 1; i < touched->count; i++)
		if (touched->items[i].ino != touched->items[kept].ino)
			touched->items[++kept] = touched->items[i];
	touched->count = kept + 1;
}

static void read_item(void *arg, size_t index)
{
	struct touched *touched = arg;
	struct item *item = &touched->items[touched->slice + index];
	AUTO_BUF value = BUF_INIT;
	struct inode_record record;
	uint64_t epoch;
	int result = node_record(touched->source, item->ino, &value, &record, &epoch);

	if (result < 0) {
		item->result = result == -ENOENT ? 0 : result;
		return;
	}
	/* Without a name it is in no directory: unlinked while open. */
	item->exists = record.nlink > 0;
	item->directory = S_ISDIR(record.mode);
	item->parent = record.parent;
	item->nlink = record.nlink;
}

static int read_items(struct touched *touched)
{
	struct node_source *source = touched->source;

	for (; touched->slice < touched->count; touched->slice += SLICE) {
		if (source->cancelled && source->cancelled(source->arg))
			return -ECANCELED;
		pool_run(source->store->pool, read_item, touched, MIN(touched->count - touched->slice, SLICE));
	}
	for (size_t i = 0; i < touched->count; i++)
		if (touched->items[i].result < 0)
			return touched->items[i].result;
	return 0;
}

static struct directory *find_directory(const struct touched *touched, uint64_t ino)
{
	struct directory *directory;

	HASH_FIND(hh, touched->directories, &ino, sizeof(ino), directory);
	return directory;
}

/* The directory and all above it, up to one that is known already. */
static int add_upwards(struct touched *touched, uint64_t ino)
{
	while (!find_directory(touched, ino)) {
		AUTO_BUF value = BUF_INIT;
		struct inode_record record;
		uint64_t epoch;
		int result = ino == 0 ? -ENOENT : node_record(touched->source, ino, &value, &record, &epoch);
		if (result == -ENOENT || (result == 0 && (!S_ISDIR(record.mode) || record.nlink == 0)))
			return -EUCLEAN;
		if (result < 0)
			return result;
		struct directory *directory = xcalloc(1, sizeof(*directory));
		directory->ino = ino;
		HASH_ADD(hh, touched->directories, ino, sizeof(directory->ino), directory);
		if (ino == ROOT_INO)
			break;
		ino = record.parent;
	}
	return 0;
}

int touched_load(struct node_source *source, const struct line *since, struct touched **ret_touched)
{
	struct touched *touched = xcalloc(1, sizeof(*touched));
	int result = 0;

	touched->source = source;
	for (uint32_t i = 0; i < since->count && result == 0; i++)
		result = collect(touched, &since->intervals[i]);
	settle(touched);
	if (result == 0)
		result = read_items(touched);
	for (size_t i = 0; i < touched->count && result == 0; i++) {
		const struct item *item = &touched->items[i];
		if (item->exists)
			result = add_upwards(touched, item->directory ? item->ino : item->parent);
	}
	if (result < 0) {
		touched_free(touched);
		return result;
	}
	*ret_touched = touched;
	return 0;
}

bool touched_has_directory(const struct touched *touched, uint64_t ino)
{
	return find_directory(touched, ino) != NULL;
}

void touched_reached(struct touched *touched, uint64_t ino)
{
	struct directory *directory = find_directory(touched, ino);

	if (directory)
		directory->reached = true;
}

bool touched_name(struct touched *touched, uint64_t ino)
{
	struct item key = {.ino = ino}, *item = NULL;

	if (touched->count > 0)
		item = bsearch(&key, touched->items, touched->count, sizeof(key), by_ino);
	if (item)
		item->seen++;
	return item != NULL;
}

bool touched_complete(const struct touched *touched)
{
	for (const struct directory *directory = touched->directories; directory; directory = directory->hh.next)
		if (!directory->reached)
			return false;
	for (size_t i = 0; i < touched->count; i++)
		if (touched->items[i].exists && !touched->items[i].directory && touched->items[i].seen != touched->items[i].nlink)
			return false;
	return true;
}
