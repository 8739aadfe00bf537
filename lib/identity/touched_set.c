#include "lib/identity/touched_set.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/tree/records/touched.h"

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

struct touched_set {
	ARRAY_FIELDS(struct item); /* by inode number */
	struct directory *directories; /* uthash by ino */
	/* while loading */
	struct node_source *source;
	size_t slice;
};

void touched_set_free(struct touched_set *set)
{
	struct directory *directory, *next;

	if (!set)
		return;
	HASH_ITER(hh, set->directories, directory, next) {
		HASH_DEL(set->directories, directory);
		free(directory);
	}
	array_clear(set);
	free(set);
}

static int add_item(void *arg, struct touched_place place)
{
	struct touched_set *set = arg;
	struct node_source *source = set->source;

	array_add(set, (struct item){.ino = place.ino});
	return set->count % SLICE == 0 && source->cancelled && source->cancelled(source->arg) ? -ECANCELED : 0;
}

static int by_ino(const void *a, const void *b)
{
	uint64_t left = ((const struct item *)a)->ino, right = ((const struct item *)b)->ino;

	return left < right ? -1 : left > right;
}

/* Sorted, each once. */
static void settle(struct touched_set *set)
{
	size_t kept = 0;

	if (set->count == 0)
		return;
	qsort(set->items, set->count, sizeof(*set->items), by_ino);
	for (size_t i = 1; i < set->count; i++)
		if (set->items[i].ino != set->items[kept].ino)
			set->items[++kept] = set->items[i];
	set->count = kept + 1;
}

static void read_item(void *arg, size_t index)
{
	struct touched_set *set = arg;
	struct item *item = &set->items[set->slice + index];
	struct scan_inode inode;
	/* Without a name it is in no directory: unlinked while open. */
	int result = scan_named_inode(&set->source->scan, item->ino, &inode);

	if (result < 0) {
		item->result = result == -ENOENT ? 0 : result;
		return;
	}
	item->exists = true;
	item->directory = S_ISDIR(inode.record.mode);
	item->parent = inode.record.parent;
	item->nlink = inode.record.nlink;
	scan_inode_clear(&inode);
}

static int read_items(struct touched_set *set)
{
	struct node_source *source = set->source;

	for (; set->slice < set->count; set->slice += SLICE) {
		if (source->cancelled && source->cancelled(source->arg))
			return -ECANCELED;
		pool_run(source->store->pool, read_item, set, MIN(set->count - set->slice, SLICE));
	}
	for (size_t i = 0; i < set->count; i++)
		if (set->items[i].result < 0)
			return set->items[i].result;
	return 0;
}

static struct directory *find_directory(const struct touched_set *set, uint64_t ino)
{
	struct directory *directory;

	HASH_FIND(hh, set->directories, &ino, sizeof(ino), directory);
	return directory;
}

/* The directory and all above it, up to one that is known already. */
static int add_upwards(struct touched_set *set, uint64_t ino)
{
	while (!find_directory(set, ino)) {
		struct scan_inode inode;
		int result = ino == 0 ? -ENOENT : scan_named_inode(&set->source->scan, ino, &inode);
		if (result < 0)
			return result == -ENOENT ? -EUCLEAN : result;
		uint64_t parent = inode.record.parent;
		bool is_directory = S_ISDIR(inode.record.mode);
		scan_inode_clear(&inode);
		if (!is_directory)
			return -EUCLEAN;
		struct directory *directory = xcalloc(1, sizeof(*directory));
		directory->ino = ino;
		HASH_ADD(hh, set->directories, ino, sizeof(directory->ino), directory);
		if (ino == ROOT_INO)
			break;
		ino = parent;
	}
	return 0;
}

int touched_set_load(struct node_source *source, const struct line *since, struct touched_set **ret_set)
{
	struct touched_set *set = xcalloc(1, sizeof(*set));
	int result;

	set->source = source;
	result = touched_each_of_line(source->scan.tree, source->scan.family, since, add_item, set);
	settle(set);
	if (result == 0)
		result = read_items(set);
	for (size_t i = 0; i < set->count && result == 0; i++) {
		const struct item *item = &set->items[i];
		if (i % SLICE == 0 && source->cancelled && source->cancelled(source->arg))
			result = -ECANCELED;
		else if (item->exists)
			result = add_upwards(set, item->directory ? item->ino : item->parent);
	}
	if (result < 0) {
		touched_set_free(set);
		return result;
	}
	*ret_set = set;
	return 0;
}

bool touched_set_has_directory(const struct touched_set *set, uint64_t ino)
{
	return find_directory(set, ino) != NULL;
}

void touched_set_reached(struct touched_set *set, uint64_t ino)
{
	struct directory *directory = find_directory(set, ino);

	if (directory)
		directory->reached = true;
}

bool touched_set_name(struct touched_set *set, uint64_t ino)
{
	struct item key = {.ino = ino}, *item = NULL;

	if (set->count > 0)
		item = bsearch(&key, set->items, set->count, sizeof(key), by_ino);
	if (item)
		item->seen++;
	return item != NULL;
}

bool touched_set_complete(const struct touched_set *set)
{
	for (const struct directory *directory = set->directories; directory; directory = directory->hh.next)
		if (!directory->reached)
			return false;
	for (size_t i = 0; i < set->count; i++)
		if (set->items[i].exists && !set->items[i].directory && set->items[i].seen != set->items[i].nlink)
			return false;
	return true;
}
