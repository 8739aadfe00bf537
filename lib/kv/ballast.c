#include "lib/kv/ballast.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define MIB (1024ULL * 1024)
#define FLOOR (8 * MIB)    /* stays free: a new log, a new manifest */
#define BESIDE (16 * MIB)  /* stays free when the file comes back */
#define KEPT (24 * MIB)    /* more than ext4's own reserve, 4,096 clusters */
#define SHARE 32           /* of the disk, within these */
#define SIZE_MIN (64 * MIB)
#define SIZE_LIMIT (256 * MIB)
#define SMALL_SHARE 8      /* of a small disk, at most */
#define LAST_SHARE 3       /* of the file: only for what gives room back */
#define LOW (32 * MIB)     /* with less, what RocksDB writes by itself may not fit */
#define LENT_MS 5000
#define LOG_MARGIN MIB     /* what other threads write at the same time */
#define LOOK_MS 100

struct ballast {
	char *db, *shown, *path;
	uint64_t size, log_limit, log_part;
	pthread_mutex_t lock; /* guards what follows, and the file */
	uint64_t available;   /* when last looked, less what was admitted since */
	uint64_t log_left;    /* the same; 0: not looked */
	uint64_t looked_ms;
	uint64_t kept;        /* bytes of the file */
	uint64_t lent_ms;     /* when some was last lent; 0: never */
	unsigned files;       /* how many have room that they may not have used yet */
	bool is_impossible;   /* the filesystem cannot allocate */
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

struct ballast *ballast_new(const struct ballast_options *options)
{
	struct ballast *ballast = xcalloc(1, sizeof(*ballast));
	uint64_t total = 0;
	struct stat st;

	ballast->db = xstrdup(options->db);
	ballast->shown = xstrdup(options->shown);
	ballast->path = xstrdup_or_null(options->path);
	ballast->log_limit = options->log_limit;
	ballast->log_part = options->log_part;
	pthread_mutex_init(&ballast->lock, NULL);
	ballast->available = free_bytes(ballast, &total);
	ballast->looked_ms = clock_ms();
	ballast->size = MIN(MIN(MAX(total / SHARE, SIZE_MIN), SIZE_LIMIT), total / SMALL_SHARE);
	if (ballast->path && lstat(ballast->path, &st) == 0 && S_ISREG(st.st_mode))
		ballast->kept = (uint64_t)st.st_size;
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
	ballast->log_left = 0;
	ballast->looked_ms = clock_ms();
}

static void resize(struct ballast *ballast, uint64_t size)
{
	const int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (size > ballast->kept ? O_CREAT : 0);
	int fd = open(ballast->path, flags, 0600), result = -1;

	/* fallocate(2) and not posix_fallocate(3), which would write all of it where the filesystem cannot allocate. */
	if (fd >= 0)
		result = size > ballast->kept ? fallocate(fd, 0, 0, (off_t)size) : ftruncate(fd, (off_t)size);
	ballast->is_impossible = result < 0 && errno == EOPNOTSUPP;
	if (result < 0 && fd >= 0 && size > ballast->kept)
		result = ftruncate(fd, (off_t)ballast->kept) < 0 ? -1 : 1;
	if (fd >= 0)
		close(fd);
	if (result == 0)
		ballast->kept = size;
	if (ballast->kept == 0)
		unlink(ballast->path);
	look(ballast);
}

/* So that `wanted` bytes are free, or at least `needed`; `last` bytes of the file stay. If that is not enough, nothing is given up. */
static void give_up(struct ballast *ballast, uint64_t needed, uint64_t wanted, uint64_t last)
{
	look(ballast);
	const uint64_t most = ballast->kept - MIN(ballast->kept, last);
	if (ballast->available < wanted && most > 0 && ballast->available + most >= needed)
		resize(ballast, ballast->kept - MIN(most, wanted - ballast->available));
}

static void take_back(struct ballast *ballast)
{
	const uint64_t missing = ballast->size - MIN(ballast->size, ballast->kept), room = ballast->available - MIN(ballast->available, BESIDE);

	if (ballast->path && !ballast->is_impossible && ballast->files == 0 && MIN(missing, room) > 0 &&
	    (ballast->lent_ms == 0 || clock_ms() - ballast->lent_ms >= LENT_MS))
		resize(ballast, ballast->kept + MIN(missing, room));
}

struct logs {
	uint64_t bytes;     /* of all */
	uint64_t allocated; /* beyond the end of the newest */
};

static struct logs look_at_logs(const char *db)
{
	struct logs logs = {0};
	DIR *dir = opendir(db);
	unsigned long long newest = 0;

	for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
		unsigned long long number = strtoull(entry->d_name, NULL, 10);
		const char *dot = strrchr(entry->d_name, '.');
		struct stat st;
		if (!dot || strcmp(dot, ".log") != 0 || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		const uint64_t size = (uint64_t)st.st_size, blocks = (uint64_t)st.st_blocks * 512;
		logs.bytes += size;
		if (number < newest)
			continue;
		newest = number;
		logs.allocated = blocks > size ? blocks - size : 0;
	}
	if (dir)
		closedir(dir);
	return logs;
}

uint64_t ballast_log_bytes(const char *db)
{
	return look_at_logs(db).bytes;
}

/* Replaying the logs writes at most what they hold. */
int ballast_admit_open(struct ballast *ballast, struct error *err)
{
	const uint64_t needed = ballast_log_bytes(ballast->db) + FLOOR;

	pthread_mutex_lock(&ballast->lock);
	give_up(ballast, needed, needed + MIB, 0);
	const uint64_t available = ballast->available;
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
	take_back(ballast);
	pthread_mutex_unlock(&ballast->lock);
}

bool ballast_admit(struct ballast *ballast, uint64_t bytes, uint64_t unflushed)
{
	const uint64_t needed = FLOOR + unflushed + bytes;

	pthread_mutex_lock(&ballast->lock);
	if (ballast->available < needed || clock_ms() - ballast->looked_ms >= LOOK_MS) {
		look(ballast);
		take_back(ballast);
	}
	const bool is_admitted = ballast->available >= needed;
	if (is_admitted)
		ballast->available -= bytes;
	pthread_mutex_unlock(&ballast->lock);
	return is_admitted;
}

bool ballast_admit_log(struct ballast *ballast, uint64_t bytes)
{
	const uint64_t needed = bytes + LOG_MARGIN;

	pthread_mutex_lock(&ballast->lock);
	if (ballast->log_left < needed) {
		const struct logs logs = look_at_logs(ballast->db);
		ballast->log_left = MIN(logs.allocated, ballast->log_limit - MIN(ballast->log_limit, logs.bytes));
	}
	const bool is_admitted = ballast->log_left >= needed;
	if (is_admitted)
		ballast->log_left -= bytes;
	pthread_mutex_unlock(&ballast->lock);
	return is_admitted;
}

void ballast_lend(struct ballast *ballast)
{
	pthread_mutex_lock(&ballast->lock);
	look(ballast);
	if (ballast->available < LOW) {
		give_up(ballast, 0, 2 * LOW, ballast->size / LAST_SHARE);
		ballast->lent_ms = clock_ms();
	}
	pthread_mutex_unlock(&ballast->lock);
}

int ballast_admit_files(struct ballast *ballast, uint64_t bytes, uint64_t unflushed, bool gives_back)
{
	/* Memory has more than the records: a table of them takes at most as much as their log. */
	const uint64_t needed = FLOOR + bytes + MIN(unflushed, look_at_logs(ballast->db).bytes);

	pthread_mutex_lock(&ballast->lock);
	give_up(ballast, needed, needed + ballast->log_part, gives_back ? 0 : ballast->size / LAST_SHARE);
	const int result = ballast->available >= needed ? 0 : -ENOSPC;
	ballast->files += result == 0;
	pthread_mutex_unlock(&ballast->lock);
	return result;
}

void ballast_files_end(struct ballast *ballast)
{
	pthread_mutex_lock(&ballast->lock);
	ballast->files--;
	pthread_mutex_unlock(&ballast->lock);
}

uint64_t ballast_missing(struct ballast *ballast)
{
	pthread_mutex_lock(&ballast->lock);
	const uint64_t missing = ballast->path && !ballast->is_impossible ? ballast->size - MIN(ballast->size, ballast->kept) : 0;
	pthread_mutex_unlock(&ballast->lock);
	return missing;
}
