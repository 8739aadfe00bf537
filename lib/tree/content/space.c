#include "lib/tree/content/space.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/locks.h"
#include "lib/kv/kv.h"

#define LOOK_MS 100
#define LOOK_BYTES (16ULL << 20)
/* What is not content: the log, which lib/kv keeps below a share of the disk, and the next one, which begins before the last one goes. */
#define BESIDE_SHARE 64
#define BESIDE_MIN (64ULL << 20)
#define BESIDE_MAX (136ULL << 20)
#define CONTENT_PERCENT 96
#define RESERVE_MIN (64ULL << 20)
#define RESERVE_MAX (1ULL << 30)

struct space {
	char *path;
	struct kv *kv;
	uint64_t reserve, beside;
	struct mutex lock;      /* guards what follows */
	uint64_t available;     /* beyond the reserve, when last looked */
	uint64_t looked_ms;
	uint64_t given;         /* since then */
};

static int look(struct space *space)
{
	struct statvfs stat;
	uint64_t bytes;

	if (statvfs(space->path, &stat) < 0)
		return -errno;
	bytes = (uint64_t)stat.f_bavail * stat.f_frsize;
	const uint64_t kept = space->reserve + (space->kv ? kv_room_missing(space->kv) : 0);
	space->available = bytes > kept ? bytes - kept : 0;
	space->looked_ms = clock_ms();
	space->given = 0;
	return 0;
}

uint64_t space_reserve(uint64_t disk_bytes)
{
	return MIN(MAX(disk_bytes / 50, RESERVE_MIN), RESERVE_MAX);
}

int space_new(const char *path, uint64_t reserve, struct kv *kv, struct space **ret_space)
{
	struct space *space = xcalloc(1, sizeof(*space));
	struct statvfs stat;
	int result;

	space->path = xstrdup(path);
	space->reserve = reserve;
	space->kv = kv;
	mutex_init(&space->lock, LOCK_SPACE);
	const uint64_t disk = statvfs(path, &stat) == 0 ? (uint64_t)stat.f_blocks * stat.f_frsize : 0;
	space->beside = MIN(MAX(disk / BESIDE_SHARE, BESIDE_MIN), BESIDE_MAX);
	if (reserve == 0 && disk > 0)
		space->reserve = space_reserve(disk);
	result = look(space);
	if (result < 0) {
		space_free(space);
		return result;
	}
	*ret_space = space;
	return 0;
}

void space_free(struct space *space)
{
	if (!space)
		return;
	mutex_clear(&space->lock);
	free(space->path);
	free(space);
}

static uint64_t known(const struct space *space)
{
	return space->available > space->given ? space->available - space->given : 0;
}

/* Less than `needed` only if the disk was asked just now. A disk that cannot be asked is taken as it was. Caller holds the lock. */
static uint64_t left(struct space *space, uint64_t bytes, uint64_t needed)
{
	if (clock_ms() - space->looked_ms >= LOOK_MS || space->given + bytes >= LOOK_BYTES || known(space) < needed)
		(void)!look(space);
	return known(space);
}

int space_check(struct space *space, uint64_t bytes, uint64_t buffered)
{
	int result = 0;

	mutex_take(&space->lock);
	if (left(space, bytes, buffered + bytes) < buffered + bytes)
		result = -ENOSPC;
	else
		space->given += bytes;
	mutex_give(&space->lock);
	return result;
}

uint64_t space_promised(struct space *space)
{
	mutex_take(&space->lock);
	const uint64_t available = left(space, 0, 0);
	mutex_give(&space->lock);
	return available > space->beside ? (available - space->beside) / 100 * CONTENT_PERCENT : 0;
}
