#include "lib/history/paths.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <uthash.h>

char *paths_clean(const char *path)
{
	AUTO_BUF clean = BUF_INIT;

	buf_addf(&clean, "%s", "");
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		if (len > 0)
			buf_addf(&clean, "%s%.*s", clean.len > 0 ? "/" : "", (int)len, at);
		at += len + (at[len] == '/');
	}
	return xstrdup((const char *)clean.data);
}

struct node {
	uint64_t ino, parent;
	char *name; /* NULL: not found yet */
	char *path;
	UT_hash_handle hh;
};

struct paths {
	const struct scan *scan;
	struct node *nodes; /* uthash by ino */
	ARRAY(struct node *) fresh; /* their parents are not looked at yet */
};

struct paths *paths_new(const struct scan *scan)
{
	struct paths *paths = xcalloc(1, sizeof(*paths));

	paths->scan = scan;
	return paths;
}

void paths_free(struct paths *paths)
{
	struct node *node, *next;

	if (!paths)
		return;
	HASH_ITER (hh, paths->nodes, node, next) {
		HASH_DEL(paths->nodes, node);
		free(node->name);
		free(node->path);
		free(node);
	}
	array_clear(&paths->fresh);
	free(paths);
}

static struct node *find(const struct paths *paths, uint64_t ino)
{
	struct node *node;

	HASH_FIND(hh, paths->nodes, &ino, sizeof(ino), node);
	return node;
}

void paths_want(struct paths *paths, uint64_t dir)
{
	struct node *node = find(paths, dir);

	if (node)
		return;
	node = xcalloc(1, sizeof(*node));
	node->ino = dir;
	HASH_ADD(hh, paths->nodes, ino, sizeof(node->ino), node);
	if (dir == ROOT_INO) {
		node->path = xstrdup("");
		return;
	}
	array_add(&paths->fresh, node);
}

static int by_parent(const void *a, const void *b)
{
	uint64_t left = (*(struct node *const *)a)->parent, right = (*(struct node *const *)b)->parent;

	return left < right ? -1 : left > right;
}

struct search {
	struct paths *paths;
	uint64_t parent;
	size_t left;
};

static int look_at_entry(void *arg, const char *name, const struct entry_record *entry)
{
	struct search *search = arg;
	struct node *node = entry->type == DT_DIR ? find(search->paths, entry->ino) : NULL;

	if (node && !node->name && node->parent == search->parent) {
		node->name = xstrdup(name);
		search->left--;
	}
	return search->left == 0;
}

/* Reads the records of the nodes in `fresh`; those that have none have no parent. */
static int load_parents(struct paths *paths, struct node **fresh, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct scan_inode inode;
		int result = scan_named_inode(paths->scan, fresh[i]->ino, &inode);
		if (result < 0 && result != -ENOENT)
			return result;
		if (result < 0)
			continue;
		fresh[i]->parent = inode.record.parent;
		scan_inode_clear(&inode);
	}
	return 0;
}

/* Names the directories that came in since the last round, and wants those above them. */
static int round_of_names(struct paths *paths)
{
	AUTO_FREE struct node **fresh = paths->fresh.items;
	size_t count = paths->fresh.count;
	int result;

	memset(&paths->fresh, 0, sizeof(paths->fresh));
	result = load_parents(paths, fresh, count);
	if (result < 0)
		return result;
	qsort(fresh, count, sizeof(*fresh), by_parent);
	for (size_t i = 0, next; i < count && result >= 0; i = next) {
		struct search search = {.paths = paths, .parent = fresh[i]->parent};
		for (next = i; next < count && fresh[next]->parent == search.parent; next++)
			search.left++;
		if (search.parent == 0)
			continue;
		result = scan_entries(paths->scan, search.parent, "", look_at_entry, &search);
		paths_want(paths, search.parent);
	}
	return result < 0 ? result : 0;
}

int paths_resolve(struct paths *paths)
{
	int result = 0;

	while (paths->fresh.count > 0 && result == 0)
		result = round_of_names(paths);
	return result;
}

/* Walks up to what has a path, then down again, giving each its own. */
const char *paths_of(struct paths *paths, uint64_t dir)
{
	struct node *node = find(paths, dir), *up;
	AUTO_ARRAY ARRAY(struct node *) chain = {0};

	for (up = node; up && !up->path; up = find(paths, up->parent)) {
		if (!up->name || chain.count > HASH_CNT(hh, paths->nodes))
			return NULL;
		array_add(&chain, up);
	}
	if (!up)
		return NULL;
	while (chain.count > 0) {
		struct node *below = array_pop(&chain);
		below->path = xasprintf("%s%s%s", up->path, *up->path ? "/" : "", below->name);
		up = below;
	}
	return node->path;
}

char *paths_join(struct paths *paths, uint64_t dir, const char *name)
{
	const char *path = paths_of(paths, dir);

	return path ? xasprintf("%s%s%s", path, *path ? "/" : "", name) : NULL;
}

/* --- all directories --- */

struct queue {
	ARRAY_FIELDS(uint64_t);
};

static int add_dir(void *arg, const char *name, const struct entry_record *entry)
{
	struct queue *queue = arg;

	if (entry->type == DT_DIR)
		array_add(queue, entry->ino);
	return 0;
}

int paths_each_dir(const struct scan *scan, int (*each)(void *arg, uint64_t dir), void *arg)
{
	struct entry_record root = {.ino = ROOT_INO, .type = DT_DIR};
	struct queue queue = {0};
	int result = add_dir(&queue, "", &root);

	while (queue.count > 0 && result == 0) {
		uint64_t dir = array_pop(&queue);
		result = each(arg, dir);
		if (result == 0)
			result = scan_entries(scan, dir, "", add_dir, &queue);
	}
	array_clear(&queue);
	return result;
}

/* --- names of files --- */

struct file {
	uint64_t ino, hint;
	uint32_t left;   /* names not found yet */
	bool everywhere; /* its names are looked for in all directories but the hint */
	UT_hash_handle hh;
};

struct hunt {
	const struct scan *scan;
	struct file *files; /* uthash by ino */
	uint64_t dir;
	bool everywhere;
	void (*each)(void *arg, uint64_t ino, uint64_t dir, const char *name);
	void *arg;
};

static int hunt_entry(void *arg, const char *name, const struct entry_record *entry)
{
	struct hunt *hunt = arg;
	struct file *file;

	if (entry->type == DT_DIR)
		return 0;
	HASH_FIND(hh, hunt->files, &entry->ino, sizeof(entry->ino), file);
	/* in its hint's directory a file is found before the search everywhere */
	if (!file || (hunt->everywhere ? !file->everywhere || file->hint == hunt->dir : file->hint != hunt->dir))
		return 0;
	hunt->each(hunt->arg, file->ino, hunt->dir, name);
	if (file->left > 0)
		file->left--;
	return 0;
}

static int hunt_in(void *arg, uint64_t dir)
{
	struct hunt *hunt = arg;

	hunt->dir = dir;
	return scan_entries(hunt->scan, dir, "", hunt_entry, hunt);
}

static int by_hint(const void *a, const void *b)
{
	uint64_t left = ((const struct wanted_file *)a)->hint, right = ((const struct wanted_file *)b)->hint;

	return left < right ? -1 : left > right;
}

static int hunt_all(struct hunt *hunt, const struct wanted_file *sorted, size_t count)
{
	struct file *file, *next;
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++)
		if (sorted[i].hint != 0 && (i == 0 || sorted[i].hint != sorted[i - 1].hint))
			result = hunt_in(hunt, sorted[i].hint);
	HASH_ITER (hh, hunt->files, file, next) {
		file->everywhere = file->left > 0;
		hunt->everywhere = hunt->everywhere || file->everywhere;
	}
	return result == 0 && hunt->everywhere ? paths_each_dir(hunt->scan, hunt_in, hunt) : result;
}

int paths_find_names(const struct scan *scan, const struct wanted_file *files, size_t count,
		     void (*each)(void *arg, uint64_t ino, uint64_t dir, const char *name), void *arg)
{
	AUTO_FREE struct wanted_file *sorted = xcalloc(MAX(count, 1U), sizeof(*sorted));
	struct hunt hunt = {.scan = scan, .each = each, .arg = arg};
	struct file *file, *next;
	int result;

	for (size_t i = 0; i < count; i++) {
		sorted[i] = files[i];
		HASH_FIND(hh, hunt.files, &files[i].ino, sizeof(files[i].ino), file);
		if (file)
			continue;
		file = xcalloc(1, sizeof(*file));
		*file = (struct file){.ino = files[i].ino, .hint = files[i].hint, .left = files[i].nlink};
		HASH_ADD(hh, hunt.files, ino, sizeof(file->ino), file);
	}
	qsort(sorted, count, sizeof(*sorted), by_hint);
	result = hunt_all(&hunt, sorted, count);
	HASH_ITER (hh, hunt.files, file, next) {
		HASH_DEL(hunt.files, file);
		free(file);
	}
	return result;
}
