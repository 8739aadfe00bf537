#include "lib/backup/drill_scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/clean.h"
#include "lib/base/file.h"

#define STEM "corpusfs-drill-"
#define ANY "XXXXXX" /* of mkdtemp */
#define LOCK "lock"
#define DEEP_MAX 16 /* a store has three levels */
#define TRIES 10

/* -EBUSY: somebody holds it; -ENOENT: there is none; -ENOLCK: the filesystem has no locks. */
static int take_lock(int dir, int flags, int *ret_lock)
{
	AUTO_CLOSE int lock = file_open_inside(dir, LOCK, O_RDWR | flags, 0600);
	struct stat held, named;

	if (lock < 0)
		return lock;
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -ENOLCK;
	/* Whoever had it may have removed it meanwhile. */
	if (fstat(lock, &held) < 0 || fstatat(dir, LOCK, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (held.st_dev != named.st_dev || held.st_ino != named.st_ino)
		return -ENOENT;
	*ret_lock = lock;
	lock = -1;
	return 0;
}

/* --- removing --- */

static int remove_below(int dir, const char *but, unsigned depth);

static int open_below(int dir, const char *name, int *ret_fd)
{
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat above, st;

	if (fd < 0 || fstat(dir, &above) < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != above.st_dev)
		return -EXDEV;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static int remove_one(int dir, const char *name, unsigned depth)
{
	AUTO_CLOSE int fd = -1;
	int r;

	if (unlinkat(dir, name, 0) == 0)
		return 0;
	if (errno != EISDIR)
		return -errno;
	r = depth < DEEP_MAX ? open_below(dir, name, &fd) : -ELOOP;
	if (r == 0)
		r = remove_below(fd, NULL, depth + 1);
	return r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : r;
}

/* As much as can be removed; the first errno. */
static int remove_below(int dir, const char *but, unsigned depth)
{
	DIR *entries = file_entries(dir);
	int first = entries ? 0 : -errno, more = 0;
	const char *name;

	while (entries && (more = file_next_entry(entries, &name)) > 0) {
		const int r = but && strcmp(name, but) == 0 ? 0 : remove_one(dir, name, depth);

		first = first < 0 ? first : r;
	}
	if (entries)
		closedir(entries);
	return first < 0 ? first : more;
}

/* The lock is held. (D2) */
static int remove_held(int place, const char *name, int dir)
{
	int r = remove_below(dir, LOCK, 0);

	if (r == 0 && unlinkat(dir, LOCK, 0) < 0 && errno != ENOENT)
		r = -errno;
	/* Another drill may have removed it since: it was empty. */
	return r == 0 && unlinkat(place, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : r;
}

/* --- what others have left --- */

static bool is_name(const char *name)
{
	return strlen(name) == strlen(STEM ANY) && strncmp(name, STEM, strlen(STEM)) == 0;
}

static bool is_ours(int dir)
{
	struct stat st;

	return fstat(dir, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* D1. */
static void sweep_one(int place, const char *name)
{
	AUTO_CLOSE int dir = -1, lock = -1;
	int r;

	if (open_below(place, name, &dir) < 0 || !is_ours(dir))
		return;
	r = take_lock(dir, 0, &lock);
	if (r == 0)
		(void)!remove_held(place, name, dir);
	else if (r == -ENOENT)
		(void)!unlinkat(place, name, AT_REMOVEDIR);
}

void drill_scratch_sweep(const char *path)
{
	AUTO_CLOSE int place = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = place < 0 ? NULL : file_entries(place);
	const char *name;

	if (!entries)
		return;
	while (file_next_entry(entries, &name) > 0)
		if (is_name(name))
			sweep_one(place, name);
	closedir(entries);
}

/* --- one's own --- */

static const char *name_of(const struct drill_scratch *scratch)
{
	return scratch->path + strlen(scratch->path) - strlen(STEM ANY);
}

static void end(struct drill_scratch *scratch)
{
	clean_close(&scratch->lock);
	clean_close(&scratch->dir);
	clean_close(&scratch->place);
	free(scratch->path);
	*scratch = DRILL_SCRATCH_NONE;
}

static int make(const char *path, struct drill_scratch *scratch)
{
	int r;

	*scratch = DRILL_SCRATCH_NONE;
	scratch->path = xasprintf("%s/" STEM ANY, path);
	scratch->place = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (scratch->place < 0 || !mkdtemp(scratch->path))
		return -errno;
	scratch->dir = openat(scratch->place, name_of(scratch), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (scratch->dir < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	r = take_lock(scratch->dir, O_CREAT, &scratch->lock);
	if (r == -EBUSY || r == -ENOENT) /* D3 */
		return -EAGAIN;
	return r == -ENOLCK ? 0 : r;
}

int drill_scratch_make(const char *place, struct drill_scratch *ret_scratch, struct error *err)
{
	struct drill_scratch scratch;
	int r = -EAGAIN;

	for (unsigned i = 0; i < TRIES && r == -EAGAIN; i++) {
		r = make(place, &scratch);
		if (r < 0 && scratch.dir >= 0)
			(void)!unlinkat(scratch.place, name_of(&scratch), AT_REMOVEDIR);
		if (r < 0)
			end(&scratch);
	}
	if (r < 0)
		return error_set(err, r, "%s: %s", place, error_text(r));
	*ret_scratch = scratch;
	return 0;
}

int drill_scratch_remove(struct drill_scratch *scratch)
{
	const int r = remove_held(scratch->place, name_of(scratch), scratch->dir);

	end(scratch);
	return r;
}
