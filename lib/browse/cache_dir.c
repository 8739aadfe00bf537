#include "lib/browse/cache_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/trusted.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/objects_kept.h"

#define MARK "corpusfs-cache"
#define PATIENCE_MS 2000
#define LOOK_US 20000

static int make(const char *path, struct error *err)
{
	int r;

	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	r = -errno;
	(void)error_set(err, r, "the cache %s cannot be made: %s", path, error_text(r));
	if (r == -ENOENT)
		error_hint(err, "make the directory above it first");
	return r;
}

static bool is_empty(int fd)
{
	DIR *dir = file_entries(fd);
	const char *name;
	const bool empty = dir && file_next_entry(dir, &name) == 0;

	if (dir)
		closedir(dir);
	return empty;
}

static int check_owner(const char *path, int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "the cache %s: %s", path, strerror(errno));
	if (st.st_uid != geteuid())
		return error_set(err, -EPERM, "the cache %s belongs to another user, %u", path, (unsigned)st.st_uid);
	return 0;
}

static int not_ours(const char *path, struct error *err)
{
	(void)error_set(err, -ENOTEMPTY, "%s is not empty, and no cache of corpusfs", path);
	error_hint(err, "name a directory that has nothing else in it; it is made");
	return -ENOTEMPTY;
}

/* Who has it may be leaving. */
static int lock_it(int lock)
{
	const uint64_t until = clock_ms() + PATIENCE_MS;

	while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (clock_ms() > until)
			return -EBUSY;
		clock_pause_us(LOOK_US);
	}
	return 0;
}

/* Opens the mark, and locks it. */
static int take(const char *path, int dir, int *ret_lock, struct error *err)
{
	int lock = file_open_inside(dir, MARK, O_RDWR, 0), r;

	if (lock == -ENOENT) {
		if (!is_empty(dir))
			return not_ours(path, err);
		lock = file_open_inside(dir, MARK, O_RDWR | O_CREAT, 0600);
	}
	if (lock < 0)
		return error_set(err, lock, "the cache %s: %s", path, error_text(lock));
	/* Whoever could read it until now cannot any more. */
	if (fchmod(dir, 0700) < 0) {
		r = -errno;
		close(lock);
		return error_set(err, r, "the cache %s: %s", path, error_text(r));
	}
	r = lock_it(lock);
	if (r == 0) {
		*ret_lock = lock;
		return 0;
	}
	close(lock);
	(void)error_set(err, r, "the cache %s %s", path, r == -EBUSY ? "is in use by another mount, or by corpusfs warm" : error_text(r));
	if (r == -EBUSY)
		error_hint(err, "give each mount a directory of its own for its cache");
	return r;
}

int cache_dir_open(const char *path, struct cache_dir *ret_dir, struct error *err)
{
	int r = make(path, err), lock = -1;
	AUTO_CLOSE int dir = -1;

	if (r == 0)
		r = trusted_open(path, &dir, err);
	if (r < 0)
		return error_default(err, r, "the cache %s", path);
	r = check_owner(path, dir, err);
	if (r == 0)
		r = take(path, dir, &lock, err);
	if (r < 0)
		return r;
	*ret_dir = (struct cache_dir){dir, lock};
	dir = -1;
	return 0;
}

void cache_dir_unlock(struct cache_dir *dir)
{
	if (dir->lock >= 0)
		close(dir->lock);
	dir->lock = -1;
}

void cache_dir_close(struct cache_dir *dir)
{
	cache_dir_unlock(dir);
	if (dir->dir >= 0)
		close(dir->dir);
	*dir = (struct cache_dir){-1, -1};
}

int cache_dir_place(const struct cache_dir *dir, const char *place, int *ret_fd)
{
	const struct blob_id id = blob_id_of(place, strlen(place));
	char digits[BLOB_ID_TEXT], name[32];
	int fd, r;

	blob_id_text(&id, digits);
	(void)snprintf(name, sizeof(name), "place-%.16s", digits);
	if (mkdirat(dir->dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = objects_kept_folders(fd);
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}
