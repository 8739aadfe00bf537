#include "lib/transfer/target_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/transfer/target_attributes.h"
#include "lib/tree/files/acl.h"

#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

void target_dir_problem(struct target_dirs *dirs, const struct target_dir *dir, const char *name, int code, const char *text)
{
	AUTO_FREE char *path = trail_text(dir->trail, name);

	transfer_problem(&dirs->export->transfer, "", path, code, text);
}

/* --- the end of a directory --- */

static void set_attributes(struct target_dirs *dirs, struct target_dir *dir)
{
	struct export *export = dirs->export;
	const struct target_file file = {.dir_fd = -1, .name = "", .fd = dir->held.fd};
	struct target_lost lost = {0};
	struct item item;
	int r = item_open(export, dir->ino, &item);

	impersonate_begin(&export->transfer.caller);
	if (r == 0)
		r = target_attributes_set(export, &file, &item, &lost);
	impersonate_end(&export->transfer.caller);
	item_close(&item);
	if (r < 0)
		target_dir_problem(dirs, dir, "", r, NULL);
	else if (lost.code)
		target_dir_problem(dirs, dir, "", lost.code, (const char *)lost.text.data);
	buf_clear(&lost.text);
}

static void finish(struct target_dirs *dirs, struct target_dir *dir)
{
	const int fd = dir->held.fd;

	/* What was stopped is not complete, and whoever goes on with it wants to write to it. */
	if (fd >= 0 && !transfer_stopped(&dirs->export->transfer))
		set_attributes(dirs, dir);
	if (fd >= 0 && dir->by_file && !transfer_stopped(&dirs->export->transfer) && fsync(fd) < 0)
		target_dir_problem(dirs, dir, "", -errno, NULL);
	if (fd >= 0)
		close(fd);
	trail_put(dir->trail);
	free(dir);
}

struct target_dir *target_dir_hold(struct target_dirs *dirs, struct target_dir *dir)
{
	held_dir_hold(&dirs->dirs, &dir->held);
	return dir;
}

void target_dir_release(struct target_dirs *dirs, struct target_dir *dir)
{
	if (held_dir_let_go(&dirs->dirs, &dir->held))
		finish(dirs, dir);
}

/* --- down --- */

static int look_at_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	*(bool *)arg = strncmp(name, TARGET_TEMPORARY, strlen(TARGET_TEMPORARY)) == 0;
	return 1;
}

/* The first name behind the bare beginning is one, if there is any. What cannot be listed is told of elsewhere. */
static bool has_alike(struct target_dirs *dirs, uint64_t ino)
{
	bool has = false;

	return view_list(dirs->export->view, ino, TARGET_TEMPORARY, look_at_name, &has) == 0 && has;
}

/* -errno: it is pushed, and what it is cannot be told: then nothing is the same, should it ever be closed. */
static int push(struct target_dirs *dirs, int fd, struct trail *trail, uint64_t ino, bool existed)
{
	struct target_dir *dir = xcalloc(1, sizeof(*dir));
	struct stat st = {0};
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	*dir = (struct target_dir){.trail = trail, .ino = ino, .existed = existed, .has_alike = has_alike(dirs, ino),
	                           .by_file = target_sync_meet(&dirs->sync, fd)};
	held_dirs_push(&dirs->dirs, &dir->held, fd, &st);
	return r;
}

/* One that was there is made fit for its owner to write to; root may anyway. */
static int open_existing(int parent_fd, const char *name, bool is_root)
{
	int fd = openat(parent_fd, name, OPEN_DIRECTORY);
	AUTO_CLOSE int path_fd = -1;
	char path[40];
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || is_root || (st.st_mode & 0700) == 0700 || fchmod(fd, st.st_mode | 0700) == 0))
		return fd;
	if (fd >= 0 || errno != EACCES)
		return fd >= 0 ? fd : -errno;
	path_fd = openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	if (path_fd < 0 || chmod(path, 0700) < 0)
		return -EACCES;
	fd = openat(parent_fd, name, OPEN_DIRECTORY);
	return fd < 0 ? -errno : fd;
}

static int make(struct target_dir *parent, const char *name, bool is_root, bool *ret_existed)
{
	int fd;

	*ret_existed = mkdirat(parent->held.fd, name, 0700) < 0;
	if (*ret_existed && (errno != EEXIST || !parent->existed))
		return -errno;
	fd = *ret_existed ? open_existing(parent->held.fd, name, is_root) : openat(parent->held.fd, name, OPEN_DIRECTORY);
	if (fd == -1)
		return -errno;
	if (fd >= 0 && parent->has_default_acl)
		target_attributes_drop_acls(&(struct target_file){.fd = fd}, true);
	return fd;
}

int target_dirs_enter(struct target_dirs *dirs, const char *name, uint64_t ino)
{
	struct target_dir *parent = target_dirs_current(dirs);
	const struct impersonate *caller = &dirs->export->transfer.caller;
	bool existed;
	int fd, r;

	impersonate_begin(caller);
	fd = make(parent, name, impersonate_is_root(caller), &existed);
	impersonate_end(caller);
	if (fd < 0)
		return fd;
	r = push(dirs, fd, trail_new(parent->trail, name), ino, existed);
	if (r < 0)
		target_dirs_leave(dirs);
	return r;
}

/* --- up --- */

void target_dirs_leave(struct target_dirs *dirs)
{
	const struct impersonate *caller = &dirs->export->transfer.caller;
	struct held_dir *dir;
	int r;

	impersonate_begin(caller);
	r = held_dirs_pop(&dirs->dirs, !transfer_stopped(&dirs->export->transfer), &dir);
	impersonate_end(caller);
	if (r < 0)
		transfer_fail(&dirs->export->transfer, r, "%s was changed by somebody else meanwhile: %s", dirs->export->options->target,
		              r == -ESTALE ? "a directory was moved" : error_text(r));
	target_dir_release(dirs, (struct target_dir *)dir);
}

struct target_dir *target_dirs_current(struct target_dirs *dirs)
{
	return (struct target_dir *)held_dirs_current(&dirs->dirs);
}

/* --- the whole --- */

void target_dirs_init(struct target_dirs *dirs, struct export *export, int fd, bool existed)
{
	*dirs = (struct target_dirs){.export = export};
	held_dirs_init(&dirs->dirs);
	(void)!push(dirs, fd, NULL, export->top.ino, existed);
	target_dirs_current(dirs)->has_default_acl = fgetxattr(fd, ACL_DEFAULT, NULL, 0) > 0;
}

void target_dirs_leave_all(struct target_dirs *dirs)
{
	while (dirs->dirs.stack.count > 0)
		target_dirs_leave(dirs);
}

void target_dirs_clear(struct target_dirs *dirs)
{
	target_dirs_leave_all(dirs);
	held_dirs_clear(&dirs->dirs);
	target_sync_clear(&dirs->sync);
}
