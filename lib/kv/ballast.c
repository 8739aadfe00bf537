#include "lib/kv/ballast.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define MIB (1024ULL * 1024)
#define FLOOR (8 * MIB)       /* below it nothing is written */
#define LOW (32 * MIB)        /* below it the file is given up, and each write looks at the disk */
#define PLENTY 4              /* this many times the file's size are free: it may come back */
#define OPEN_MIN (8 * MIB)    /* a new log, a new manifest */
#define KEPT (24 * MIB)       /* more than ext4's own reserve, 4,096 clusters */
#define SIZE_MIN (64 * MIB)
#define SIZE_LIMIT (128 * MIB)
#define LOOK_MS 100

struct ballast {
	char *db, *shown, *path;
	uint64_t size;
	pthread_mutex_t lock; /* guards what follows, and the file */
	uint64_t available;   /* when last looked, less what was admitted since */
	uint64_t looked_ms;
	bool there;
};

/*
 * Root may use the blocks that a filesystem reserves for root, except for some that ext4 keeps for itself. Where the disk cannot be asked
 * there is room, until a write says otherwise.
 */
static uint64_t free_bytes(const struct ballast *ballast, uint64_t *ret_total)
{
	struct statvfs stat;

	if (statvfs(ballast->db, &stat) < 0)
		return UINT64_MAX;
	if (ret_total)
		*ret_total = (uint64_t)stat.f_blocks * stat.f_frsize;
	uint64_t all = (uint64_t)stat.f_bfree * stat.f_frsize, others = (uint64_t)stat.f_bavail * stat.f_frsize;
	return geteuid() == 0 && all > KEPT + others ? all - KEPT : others;
}

struct ballast *ballast_new(const char *db, const char *shown, const char *path)
{
	struct ballast *ballast = xcalloc(1, sizeof(*ballast));
	uint64_t total = 0;

	ballast->db = xstrdup(db);
	ballast->shown = xstrdup(shown);
	ballast->path = path ? xstrdup(path) : NULL;
	pthread_mutex_init(&ballast->lock, NULL);
	ballast->available = free_bytes(ballast, &total);
	ballast->looked_ms = clock_ms();
	ballast->size = MIN(MAX(total / 50, SIZE_MIN), SIZE_LIMIT);
	ballast->there = path && access(path, F_OK) == 0;
	return ballast;
}

void ballast_free(struct ballast *ballast)
{
	if (!ballast)
		return;
	pthread_mutex_destroy(&ballast->lock);
	free(ballast->db);
	free(ballast->shown);
	free(ballast->path);
	free(ballast);
}

/* The functions from here to ballast_admit_open() are called with the lock held. */

static void look(struct ballast *ballast)
{
	ballast->available = free_bytes(ballast, NULL);
	ballast->looked_ms = clock_ms();
}

static void give_up(struct ballast *ballast)
{
	if (unlink(ballast->path) < 0 && errno != ENOENT)
		return;
	ballast->there = false;
	look(ballast);
}

static void make(struct ballast *ballast)
{
	int fd = open(ballast->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return;
	/* fallocate(2) and not posix_fallocate(3), which would write all of it where the filesystem cannot allocate. */
	ballast->there = fallocate(fd, 0, 0, (off_t)ballast->size) == 0;
	close(fd);
	if (!ballast->there)
		unlink(ballast->path);
	look(ballast);
}

static void adjust(struct ballast *ballast)
{
	if (!ballast->path)
		return;
	if (ballast->there && ballast->available < LOW)
		give_up(ballast);
	else if (!ballast->there && ballast->available / PLENTY >= ballast->size)
		make(ballast);
}

/* Replaying the logs writes at most what they hold. */
static uint64_t log_bytes(const char *db)
{
	DIR *dir = opendir(db);
	uint64_t bytes = 0;

	if (!dir)
		return 0;
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		const char *dot = strrchr(entry->d_name, '.');
		struct stat st;
		if (dot && strcmp(dot, ".log") == 0 && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			bytes += (uint64_t)st.st_size;
	}
	closedir(dir);
	return bytes;
}

int ballast_admit_open(struct ballast *ballast, struct error *err)
{
	uint64_t needed = log_bytes(ballast->db) + OPEN_MIN;

	pthread_mutex_lock(&ballast->lock);
	if (ballast->there && ballast->available < MAX(needed, LOW))
		give_up(ballast);
	uint64_t available = ballast->available;
	pthread_mutex_unlock(&ballast->lock);
	if (available >= needed)
		return 0;
	error_set(err, -ENOSPC, "%s: the disk is full: %llu MiB are free, opening the database takes %llu MiB", ballast->shown,
		  (unsigned long long)(available / MIB), (unsigned long long)((needed + MIB - 1) / MIB));
	error_hint(err, "make room on this disk; nothing was changed");
	return -ENOSPC;
}

void ballast_opened(struct ballast *ballast)
{
	pthread_mutex_lock(&ballast->lock);
	look(ballast);
	adjust(ballast);
	pthread_mutex_unlock(&ballast->lock);
}

int ballast_admit(struct ballast *ballast, size_t bytes)
{
	int result = 0;

	pthread_mutex_lock(&ballast->lock);
	if (ballast->available < LOW + bytes || clock_ms() - ballast->looked_ms >= LOOK_MS) {
		look(ballast);
		adjust(ballast);
	}
	if (ballast->available < FLOOR + bytes)
		result = -ENOSPC;
	else
		ballast->available -= bytes;
	pthread_mutex_unlock(&ballast->lock);
	return result;
}
