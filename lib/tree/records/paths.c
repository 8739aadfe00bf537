#include "lib/tree/records/paths.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"

/* --- names in directories --- */

struct search {
	uint64_t ino;
	char *name; /* found; owned */
};

static int look_at_entry(void *arg, const char *name, const struct entry_record *entry)
{
	struct search *search = arg;

	if (entry->ino != search->ino)
		return 0;
	search->name = xstrdup(name);
	return 1;
}

/* *ret_name NULL: the directory has no name of the inode. */
static int name_in(const struct scan *scan, uint64_t dir, uint64_t ino, char **ret_name)
{
	struct search search = {.ino = ino};
	int result = scan_entries(scan, dir, "", look_at_entry, &search);

	*ret_name = search.name;
	return MIN(result, 0);
}

struct dir {
	uint64_t ino, from; /* from: the directory that names it */
};

struct dirs {
	ARRAY_FIELDS(struct dir);
	uint64_t from;
};

static int add_dir(void *arg, const char *name, const struct entry_record *entry)
{
	struct dirs *dirs = arg;

	if (entry->type == DT_DIR)
		array_add(dirs, ((struct dir){entry->ino, dirs->from}));
	return 0;
}

static int parent_of(const struct scan *scan, uint64_t dir, uint64_t *ret_parent)
{
	struct scan_inode inode;
	int result = scan_named_inode(scan, dir, &inode);

	if (result < 0)
		return result;
	*ret_parent = inode.record.parent;
	scan_inode_clear(&inode);
	return 0;
}

/* In a damaged tree a directory may be named in others, too, and even by one that lies in it: it is entered from where it belongs only. */
static bool belongs(const struct scan *scan, const struct dir *dir)
{
	uint64_t parent;

	return dir->ino == ROOT_INO ? dir->from == 0 : parent_of(scan, dir->ino, &parent) == 0 && parent == dir->from;
}

/* Looks through all directories. *ret_name NULL: nowhere. */
static int name_anywhere(const struct scan *scan, uint64_t ino, uint64_t *ret_dir, char **ret_name)
{
	struct dirs dirs = {0};
	int result = 0;

	*ret_name = NULL;
	array_add(&dirs, ((struct dir){.ino = ROOT_INO}));
	while (dirs.count > 0 && result == 0 && !*ret_name) {
		const struct dir dir = array_pop(&dirs);
		if (!belongs(scan, &dir))
			continue;
		*ret_dir = dirs.from = dir.ino;
		result = name_in(scan, *ret_dir, ino, ret_name);
		if (result == 0 && !*ret_name)
			result = scan_entries(scan, *ret_dir, "", add_dir, &dirs);
	}
	array_clear(&dirs);
	return result;
}

/* --- the way up --- */

struct names {
	ARRAY_FIELDS(char *); /* the last one of the path first; owned */
};

static char *join(const struct names *names)
{
	struct buf path = BUF_INIT;

	for (size_t i = names->count; i-- > 0;) {
		if (path.len > 0)
			buf_add_u8(&path, '/');
		buf_add(&path, names->items[i], strlen(names->items[i]));
	}
	buf_add_u8(&path, 0);
	return (char *)path.data;
}

/* Adds the names of the directory and of those above it. A damaged chain that comes back to itself is noticed: -EIO. */
static int climb(const struct scan *scan, uint64_t dir, struct names *names)
{
	uint64_t passed = 0;

	for (size_t steps = 1; dir != ROOT_INO; steps++) {
		uint64_t parent;
		char *name;
		int result = parent_of(scan, dir, &parent);
		if (result == 0)
			result = name_in(scan, parent, dir, &name);
		if (result < 0)
			return result;
		if (!name)
			return -ENOENT;
		array_add(names, name);
		if (parent == passed)
			return -EIO;
		if ((steps & (steps - 1)) == 0)
			passed = dir;
		dir = parent;
	}
	return 0;
}

static int find_names(const struct scan *scan, const struct scan_inode *inode, struct names *names)
{
	uint64_t dir = inode->record.parent;
	char *name;
	int result;

	if (S_ISDIR(inode->record.mode))
		return climb(scan, inode->ino, names);
	result = name_in(scan, dir, inode->ino, &name);
	if (result == 0 && !name)
		result = name_anywhere(scan, inode->ino, &dir, &name);
	if (result < 0)
		return result;
	if (!name)
		return -ENOENT;
	array_add(names, name);
	return climb(scan, dir, names);
}

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	array_clear(names);
}

int paths_find(const struct scan *scan, const struct scan_inode *inode, char **ret_path)
{
	struct names names = {0};
	int result = find_names(scan, inode, &names);

	if (result == 0)
		*ret_path = join(&names);
	names_clear(&names);
	return result;
}

int paths_join(const struct scan *scan, uint64_t dir, const char *name, char **ret_path)
{
	struct names names = {0};
	int result;

	array_add(&names, xstrdup(name));
	result = climb(scan, dir, &names);
	if (result == 0)
		*ret_path = join(&names);
	names_clear(&names);
	return result;
}
