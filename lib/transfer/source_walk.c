/*
 *   levels:   top --- a --- b --- ... --- x --- y        each with the names that are still to be entered
 *   open:     top                       [ the last KEEP_OPEN ]
 *
 * Going back to a level that is not open any more goes through ".." of the one below.
 */
#include "lib/transfer/source_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define KEEP_OPEN 32

struct level {
	struct source_dir *dir; /* NULL: not open */
	struct trail *trail;
	char *name; /* in the level above */
	dev_t dev;
	ino_t st_ino;
	uint64_t ino; /* the user's */
	bool existed;
	ARRAY(char *) below;
	size_t next; /* of those below */
};

struct source_walk {
	struct impersonate who;
	ARRAY(struct level) levels;
	bool is_started;
	int begun;
	struct trail *failed_trail;
	char *failed_name;
};

/* --- directories --- */

static struct source_dir *dir_new(int fd, const struct stat *st, struct trail *trail)
{
	struct source_dir *dir = xcalloc(1, sizeof(*dir));

	*dir = (struct source_dir){.fd = fd, .st = *st, .trail = trail_ref(trail)};
	atomic_init(&dir->refs, 1);
	return dir;
}

struct source_dir *source_dir_ref(struct source_dir *dir)
{
	atomic_fetch_add(&dir->refs, 1);
	return dir;
}

void source_dir_put(struct source_dir *dir)
{
	if (!dir || atomic_fetch_sub(&dir->refs, 1) > 1)
		return;
	close(dir->fd);
	trail_put(dir->trail);
	free(dir);
}

DIR *source_dir_entries(const struct source_dir *dir, const struct impersonate *who)
{
	DIR *entries;
	int error;

	impersonate_begin(who);
	entries = file_entries(dir->fd);
	error = errno;
	impersonate_end(who);
	errno = error;
	return entries;
}

static int open_dir(struct source_walk *walk, int at, const char *name, struct stat *ret_st)
{
	int fd, r = 0;

	impersonate_begin(&walk->who);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, ret_st) < 0)
		r = -errno;
	impersonate_end(&walk->who);
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

/* --- levels --- */

static struct level *top_level(struct source_walk *walk)
{
	return array_last(&walk->levels);
}

static void push(struct source_walk *walk, struct source_dir *dir, const char *name)
{
	struct level level = {.dir = dir, .trail = trail_ref(dir->trail), .name = xstrdup(name), .dev = dir->st.st_dev,
	                      .st_ino = dir->st.st_ino};

	array_add(&walk->levels, level);
	/* The top stays open: whatever happens, it can be begun from there. */
	if (walk->levels.count > KEEP_OPEN + 1) {
		struct level *far = &walk->levels.items[walk->levels.count - 1 - KEEP_OPEN];
		source_dir_put(far->dir);
		far->dir = NULL;
	}
}

static void pop(struct source_walk *walk)
{
	struct level *level = top_level(walk);

	for (size_t i = level->next; i < level->below.count; i++)
		free(level->below.items[i]);
	array_clear(&level->below);
	source_dir_put(level->dir);
	trail_put(level->trail);
	free(level->name);
	walk->levels.count--;
}

static struct source_dir *reopened(const struct level *level, int fd, const struct stat *st)
{
	struct source_dir *dir;

	if (st->st_dev != level->dev || st->st_ino != level->st_ino) {
		close(fd);
		return NULL;
	}
	dir = dir_new(fd, st, level->trail);
	dir->ino = level->ino;
	dir->existed = level->existed;
	return dir;
}

/* By its names, from the nearest level that is open. */
static struct source_dir *open_again(struct source_walk *walk, size_t number)
{
	size_t at = number;
	AUTO_CLOSE int opened = -1;
	struct stat st;
	int fd;

	while (!walk->levels.items[at].dir)
		at--;
	fd = walk->levels.items[at].dir->fd;
	for (at++; at <= number; at++) {
		int next = open_dir(walk, fd, walk->levels.items[at].name, &st);

		if (next < 0)
			return NULL;
		if (opened >= 0)
			close(opened);
		fd = opened = next;
	}
	opened = -1;
	return reopened(&walk->levels.items[number], fd, &st);
}

/* The last level is done with: the one above it is the last now, and open if it is still where it was. */
static void go_up(struct source_walk *walk)
{
	size_t above = walk->levels.count - 2;
	struct level *level = &walk->levels.items[above], *done = top_level(walk);
	struct stat st;
	int fd;

	if (!level->dir) {
		fd = done->dir ? open_dir(walk, done->dir->fd, "..", &st) : -ENOENT;
		level->dir = fd >= 0 ? reopened(level, fd, &st) : NULL;
		if (!level->dir)
			level->dir = open_again(walk, above);
	}
	pop(walk);
}

static int fail(struct source_walk *walk, struct trail *trail, const char *name, int code)
{
	trail_put(walk->failed_trail);
	free(walk->failed_name);
	walk->failed_trail = trail_ref(trail);
	walk->failed_name = xstrdup(name);
	return code;
}

static int enter(struct source_walk *walk, const char *name, struct source_dir **ret_dir)
{
	struct level *above = top_level(walk);
	struct trail *trail;
	struct source_dir *dir;
	struct stat st;
	int fd = open_dir(walk, above->dir->fd, name, &st);

	if (fd < 0)
		return fail(walk, above->trail, name, fd);
	trail = trail_new(above->trail, name);
	dir = dir_new(fd, &st, trail);
	trail_put(trail);
	dir->dev_above = above->dev;
	dir->ino_above = above->ino;
	dir->existed_above = above->existed;
	push(walk, dir, name);
	*ret_dir = dir;
	return 1;
}

/* --- the whole --- */

struct source_walk *source_walk_new(int fd, const struct impersonate *who)
{
	struct source_walk *walk = xcalloc(1, sizeof(*walk));
	struct stat st;
	int own;

	walk->who = *who;
	/* Not a copy of the descriptor: that would share how far it was read. */
	own = open_dir(walk, fd, ".", &st);
	if (own >= 0)
		push(walk, dir_new(own, &st, NULL), "");
	else
		walk->begun = own;
	return walk;
}

void source_walk_free(struct source_walk *walk)
{
	while (walk->levels.count > 0)
		pop(walk);
	array_clear(&walk->levels);
	trail_put(walk->failed_trail);
	free(walk->failed_name);
	free(walk);
}

int source_walk_next(struct source_walk *walk, struct source_dir **ret_dir)
{
	if (!walk->is_started) {
		walk->is_started = true;
		if (walk->levels.count == 0)
			return fail(walk, NULL, "", walk->begun);
		*ret_dir = top_level(walk)->dir;
		return 1;
	}
	while (walk->levels.count > 0) {
		struct level *level = top_level(walk);

		if (level->next < level->below.count && !level->dir) {
			level->next = level->below.count;
			return fail(walk, level->trail, "", -ESTALE);
		}
		if (level->next < level->below.count) {
			AUTO_FREE char *name = level->below.items[level->next++];
			return enter(walk, name, ret_dir);
		}
		if (walk->levels.count == 1)
			break;
		go_up(walk);
	}
	return 0;
}

void source_walk_below(struct source_walk *walk, const char *name)
{
	array_add(&top_level(walk)->below, xstrdup(name));
}

void source_walk_set(struct source_walk *walk, uint64_t ino, bool existed)
{
	top_level(walk)->ino = ino;
	top_level(walk)->existed = existed;
}

const char *source_walk_failed(const struct source_walk *walk, struct trail **ret_trail)
{
	*ret_trail = walk->failed_trail;
	return walk->failed_name;
}
