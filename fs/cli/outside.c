#include "fs/cli/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/where.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/shell.h"
#include "lib/transfer/export.h"

#define PART ".part"

static int failed(const char *path, struct error *err)
{
	return error_set(err, -errno, "%s: %s", path, strerror(errno));
}

/* What the target is to be made in. */
static int check_parent(const char *path, struct error *err)
{
	AUTO_FREE char *copy = xstrdup(path);
	const char *parent = dirname(copy);
	struct stat st;

	if (stat(parent, &st) == 0 || errno != ENOENT)
		return 0;
	error_set(err, -ENOENT, "there is no directory %s in which %s could be made", parent, path);
	error_hint_shell(err, "make it first: mkdir -p %s", parent);
	return -ENOENT;
}

int outside_open_source(const char *path, int *ret_fd, struct error *err)
{
	int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return failed(path, err);
	*ret_fd = fd;
	return 0;
}

/* --- the target --- */

static int open_stream(struct outside *target, struct error *err)
{
	target->is_stream = true;
	if (strcmp(target->path, "-") == 0)
		target->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		target->fd = open(target->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (target->fd < 0)
		return failed(target->path, err);
	return isatty(target->fd) ? error_set(err, -EINVAL, "an archive is not written to a terminal") : 0;
}

static int open_directory(struct outside *target, struct error *err)
{
	target->made = mkdir(target->path, 0700) == 0;
	if (!target->made && errno != EEXIST)
		return failed(target->path, err);
	target->fd = open(target->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return target->fd < 0 ? failed(target->path, err) : 0;
}

/* What an export that was killed has left is ours to write over; what somebody else has put there is not. */
static int take_over_part(struct outside *target)
{
	struct stat st;

	target->fd = open(target->part, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (target->fd < 0)
		return -errno;
	if (fstat(target->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1)
		return -EEXIST;
	return 0;
}

static int no_part(const char *path, int code, struct error *err)
{
	AUTO_FREE char *copy = xstrdup(path);
	AUTO_FREE char *parent = where_absolute(dirname(copy)), *mountpoint = NULL;
	AUTO_FREE char *store = parent ? where_store_of(parent, &mountpoint) : NULL;

	error_set(err, code, "%s" PART ": %s", path, error_text(code));
	if (code == -EPERM && store && strcmp(parent, mountpoint) == 0) {
		error_set(err, code, "%s lies at the root of a mount, where there are datasets only", path);
		error_hint(err, "name a place outside of the mount");
	}
	return code;
}

static int open_part(struct outside *target, struct error *err)
{
	struct stat st;
	int r = 0;

	if (lstat(target->path, &st) == 0) {
		error_set(err, -EEXIST, "%s is there already, and is not written over", target->path);
		error_hint(err, "remove it, or name another file");
		return -EEXIST;
	}
	target->part = xasprintf("%s" PART, target->path);
	target->fd = open(target->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (target->fd < 0)
		r = errno == EEXIST ? take_over_part(target) : -errno;
	if (r == 0 && flock(target->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		r = error_set(err, -EBUSY, "another export writes %s", target->part);
	if (r == 0 && ftruncate(target->fd, 0) < 0)
		r = -errno;
	if (r < 0) {
		/* It is not ours to remove. */
		free(target->part);
		target->part = NULL;
		return r == -EBUSY ? r : no_part(target->path, r, err);
	}
	return 0;
}

static bool takes_stream(const char *path)
{
	struct stat st;

	return strcmp(path, "-") == 0 || (stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)));
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int no_format(const char *path, const char *format, struct error *err)
{
	if (format) {
		error_set(err, -EINVAL, "\"%s\" is not a format", format);
		error_hint(err, EXPORT_FORMATS);
	} else {
		error_set(err, -EINVAL, "no archive like %s is written", path);
		error_hint(err, "the name may end in " EXPORT_SUFFIXES "; a directory of that name is meant by %s/", path);
	}
	return -EINVAL;
}

int outside_open_target(const char *path, const char *format, struct outside *ret_outside, struct error *err)
{
	struct outside target = {.path = path, .fd = -1};
	const bool is_stream = takes_stream(path);
	int r;

	target.format = export_format(path, is_stream, format);
	if (!target.format && !format && is_directory(path))
		target.format = "dir";
	if (!target.format)
		return no_format(path, format, err);
	if (is_stream && strcmp(target.format, "dir") == 0)
		return error_set(err, -EINVAL, "a directory cannot be written to a stream");
	r = is_stream ? 0 : check_parent(path, err);
	if (r == 0 && is_stream)
		r = open_stream(&target, err);
	else if (r == 0 && strcmp(target.format, "dir") == 0)
		r = open_directory(&target, err);
	else if (r == 0)
		r = open_part(&target, err);
	if (r < 0) {
		outside_drop(&target);
		outside_close(&target);
		return r;
	}
	*ret_outside = target;
	return 0;
}

int outside_keep(struct outside *target, struct error *err)
{
	AUTO_FREE char *copy = NULL;
	int r;

	/* Some filesystems tell only now what they could not write. */
	const int other = dup(target->fd);
	if (other < 0 || close(other) < 0)
		return failed(target->path, err);
	if (!target->part)
		return 0;
	if (renameat2(AT_FDCWD, target->part, AT_FDCWD, target->path, RENAME_NOREPLACE) < 0) {
		/* Some filesystems do not know the flag: a link never replaces either. */
		if (errno != EINVAL || link(target->part, target->path) < 0)
			return failed(target->path, err);
		unlink(target->part);
	}
	free(steal_ptr(target->part));
	copy = xstrdup(target->path);
	r = file_sync_dir(dirname(copy));
	return r < 0 ? error_set(err, r, "%s: %s", target->path, error_text(r)) : 0;
}

void outside_drop(struct outside *target)
{
	if (target->part)
		unlink(target->part);
	if (!target->made)
		return;
	/* A dataset that is open stays. */
	if (target->fd >= 0)
		close(target->fd);
	target->fd = -1;
	(void)!rmdir(target->path); /* unless something is in it */
}

void outside_close(struct outside *target)
{
	if (target->fd >= 0)
		close(target->fd);
	target->fd = -1;
	free(steal_ptr(target->part));
}
