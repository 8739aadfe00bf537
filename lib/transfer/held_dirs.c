#include "lib/transfer/held_dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define NEAR 32 /* so many levels above the walk stay open */

void held_dirs_init(struct held_dirs *dirs)
{
	*dirs = (struct held_dirs){0};
	pthread_mutex_init(&dirs->lock, NULL);
}

void held_dirs_clear(struct held_dirs *dirs)
{
	array_clear(&dirs->stack);
	pthread_mutex_destroy(&dirs->lock);
}

/* --- holding --- */

/* Only the walk is left in it, and is far below. The lock is held. */
static void close_far(struct held_dir *dir)
{
	if (!dir->is_far || dir->holders > 1 || dir->fd < 0)
		return;
	close(dir->fd);
	dir->fd = -1;
}

void held_dir_hold(struct held_dirs *dirs, struct held_dir *dir)
{
	pthread_mutex_lock(&dirs->lock);
	dir->holders++;
	pthread_mutex_unlock(&dirs->lock);
}

bool held_dir_let_go(struct held_dirs *dirs, struct held_dir *dir)
{
	bool is_last;

	pthread_mutex_lock(&dirs->lock);
	is_last = --dir->holders == 0;
	if (!is_last)
		close_far(dir);
	pthread_mutex_unlock(&dirs->lock);
	return is_last;
}

/* --- down and up --- */

void held_dirs_push(struct held_dirs *dirs, struct held_dir *dir, int fd, const struct stat *st)
{
	*dir = (struct held_dir){.fd = fd, .dev = st->st_dev, .ino = st->st_ino, .holders = 1};
	array_add(&dirs->stack, dir);
	if (dirs->stack.count <= NEAR)
		return;

	struct held_dir *far = dirs->stack.items[dirs->stack.count - 1 - NEAR];

	pthread_mutex_lock(&dirs->lock);
	far->is_far = true;
	close_far(far);
	pthread_mutex_unlock(&dirs->lock);
}

struct held_dir *held_dirs_top(const struct held_dirs *dirs)
{
	return dirs->stack.items[0];
}

struct held_dir *held_dirs_current(const struct held_dirs *dirs)
{
	return *array_last(&dirs->stack);
}

static int open_above(const struct held_dir *dir, struct held_dir *above)
{
	const int fd = openat(dir->fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_dev != above->dev || st.st_ino != above->ino) {
		close(fd);
		return -ESTALE;
	}
	above->fd = fd;
	return 0;
}

int held_dirs_pop(struct held_dirs *dirs, bool reopen, struct held_dir **ret_dir)
{
	struct held_dir *dir = *ret_dir = array_pop(&dirs->stack), *above;

	if (dirs->stack.count == 0)
		return 0;
	above = held_dirs_current(dirs);
	pthread_mutex_lock(&dirs->lock);
	above->is_far = false;
	pthread_mutex_unlock(&dirs->lock);
	/* Nobody but the walk opens one again, and nobody closes one that is near. */
	return reopen && above->fd < 0 ? open_above(dir, above) : 0;
}
