#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

int browse_find(struct browse *browse, const char *path, struct browse_entry *ret_entry)
{
	AUTO_FREE char *copy = xstrdup(path);
	struct browse_entry entry = {.id = BROWSE_ROOT}, inside;
	char *rest = NULL;
	int r = 0;

	for (char *name = strtok_r(copy, "/", &rest); name && r == 0; name = strtok_r(NULL, "/", &rest)) {
		r = browse_lookup(browse, entry.id, name, true, &inside);
		if (r == 0)
			entry = inside;
	}
	if (r == 0 && entry.id == BROWSE_ROOT)
		r = browse_getattr(browse, BROWSE_ROOT, true, &entry);
	if (r < 0)
		return r;
	*ret_entry = entry;
	return 0;
}

struct walk {
	struct browse *browse;
	ARRAY(struct browse_entry) dirs; /* still to be looked into: the last one next */
	int (*each)(void *arg, const struct browse_entry *entry);
	void *arg;
};

/* Directories are given when it is their turn. */
static int take(void *arg, const char *name, uint64_t next, const struct browse_entry *entry)
{
	struct walk *walk = arg;
	int r;

	(void)name;
	(void)next;
	if (S_ISDIR(entry->stat.st_mode)) {
		array_add(&walk->dirs, *entry);
		return 0;
	}
	r = walk->each(walk->arg, entry);
	/* What ends the list counts as not looked up. */
	if (r == 0)
		browse_forget(walk->browse, entry->id, 1);
	return r;
}

/* Those that came last are looked into in the order of their names. */
static void turn(struct walk *walk, size_t from)
{
	for (size_t end = walk->dirs.count; from + 1 < end; from++, end--) {
		const struct browse_entry first = walk->dirs.items[from];

		walk->dirs.items[from] = walk->dirs.items[end - 1];
		walk->dirs.items[end - 1] = first;
	}
}

static int walk_dir(struct walk *walk, const struct browse_entry *dir)
{
	const struct browse_listing listing = {.id = dir->id, .take = true, .each = take, .arg = walk};
	const size_t before = walk->dirs.count;
	int r = walk->each(walk->arg, dir);

	if (r == 0)
		r = browse_list(walk->browse, &listing, true);
	turn(walk, before);
	return r;
}

int browse_walk(struct browse *browse, const struct browse_entry *from, int (*each)(void *arg, const struct browse_entry *entry), void *arg)
{
	struct walk walk = {.browse = browse, .each = each, .arg = arg};
	int r;

	if (!S_ISDIR(from->stat.st_mode))
		return each(arg, from);
	r = walk_dir(&walk, from);
	while (walk.dirs.count > 0) {
		const struct browse_entry dir = array_pop(&walk.dirs);

		if (r == 0)
			r = walk_dir(&walk, &dir);
		browse_forget(browse, dir.id, 1);
	}
	array_clear(&walk.dirs);
	return r;
}
