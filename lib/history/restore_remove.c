#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/history/restore_parts.h"

struct entry_name {
	char *name;
	uint64_t ino;
	bool is_dir;
};

struct names {
	ARRAY_FIELDS(struct entry_name);
	const char *prefix;
};

static int note_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct names *names = arg;

	if (names->prefix && strncmp(name, names->prefix, strlen(names->prefix)) != 0)
		return 0;
	array_add(names, (struct entry_name){.name = xstrdup(name), .ino = ino, .is_dir = type == DT_DIR});
	return 0;
}

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].name);
	array_clear(names);
}

struct level {
	uint64_t dir;
	struct names names;
	size_t at;
};

/* Other names of the file may stay, of which a mount remembers the link count. */
static int unlink_name(struct restore *restore, uint64_t dir, const char *name, uint64_t ino)
{
	struct attr attr;
	int result = view_unlink(restore->head, dir, name);

	if (result == 0 && view_getattr(restore->head, ino, &attr) == 0)
		store_entry_changed(restore->store, view_number(restore->head), ino, "");
	return result;
}

struct levels {
	ARRAY_FIELDS(struct level);
};

static int enter(struct restore *restore, struct levels *levels, uint64_t dir)
{
	struct level *level = array_new(levels);

	level->dir = dir;
	return view_list(restore->head, dir, "", note_name, &level->names);
}

static void leave(struct levels *levels)
{
	struct level level = array_pop(levels);

	names_clear(&level.names);
}

/* Removes the next entry of the deepest directory, or goes into it, or removes the directory when it is empty. */
static int remove_next(struct restore *restore, struct levels *levels)
{
	struct level *level = array_last(levels);
	struct entry_name *entry = level->at < level->names.count ? &level->names.items[level->at] : NULL;

	if (entry && entry->is_dir)
		return enter(restore, levels, entry->ino);
	if (entry) {
		level->at++;
		return unlink_name(restore, level->dir, entry->name, entry->ino);
	}
	leave(levels);
	if (levels->count == 0)
		return 0;
	level = array_last(levels);
	return view_rmdir(restore->head, level->dir, level->names.items[level->at++].name);
}

/* Removes all that is in a directory, and below; without recursion, however deep it is. */
static int empty_dir(struct restore *restore, uint64_t top)
{
	struct levels levels = {0};
	int result = enter(restore, &levels, top);

	while (levels.count > 0 && result == 0)
		result = remove_next(restore, &levels);
	while (levels.count > 0)
		leave(&levels);
	array_clear(&levels);
	return result;
}

int restore_remove(struct restore *restore, uint64_t dir, const char *name)
{
	struct view *view = restore->head;
	struct attr attr;
	int result = view_lookup(view, dir, name, &attr);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	if (!S_ISDIR(attr.mode))
		return unlink_name(restore, dir, name, attr.ino);
	result = empty_dir(restore, attr.ino);
	return result < 0 ? result : view_rmdir(view, dir, name);
}

int restore_remove_leftovers(struct restore *restore, uint64_t dir)
{
	struct view *view = restore->head;
	struct names names = {.prefix = RESTORE_PREFIX};
	int result = view_list(view, dir, RESTORE_PREFIX, note_name, &names);

	for (size_t i = 0; i < names.count && result == 0; i++)
		result = restore_remove(restore, dir, names.items[i].name);
	names_clear(&names);
	return result;
}
