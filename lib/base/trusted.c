#include "lib/base/trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define LINKS_MAX 40 /* as the kernel's own limit */
#define UID_MAP_MAX 4096
#define MOUNTINFO_MAX (64U << 20)
#define OVERFLOW_UID 65534

/* In a user namespace, the files of everybody outside of it belong to one number, the real root's among them. */
static bool is_outside_root(uid_t uid)
{
	AUTO_BUF map = BUF_INIT;
	unsigned long inside, outside, count;

	if (uid != OVERFLOW_UID || file_read("/proc/self/uid_map", UID_MAP_MAX, &map) < 0)
		return false;
	buf_add_u8(&map, 0);
	return sscanf((const char *)map.data, "%lu %lu %lu", &inside, &outside, &count) == 3 && count != 4294967295UL;
}

bool trusted_owner(uid_t uid)
{
	return geteuid() != 0 || uid == 0;
}

/* The walk: `at` is a checked directory, `rest` is what is still to be walked from there. */
struct walk {
	int at;
	char *rest;
	unsigned links;
	const char *whole; /* the path as it was given, for messages */
};

static int refuse(const struct walk *walk, const struct stat *st, struct error *err)
{
	AUTO_FREE char *link = xasprintf("/proc/self/fd/%d", walk->at);
	char where[PATH_MAX] = "";
	ssize_t len = readlink(link, where, sizeof(where) - 1);

	where[MAX(len, 0)] = '\0';
	if (!trusted_owner(st->st_uid) && !is_outside_root(st->st_uid))
		return error_set(err, -EPERM, "root does not open %s: user %u owns %s and can replace what is in it", walk->whole,
				 (unsigned)st->st_uid, where);
	return error_set(err, -EPERM, "root does not open %s: other users can write in %s", walk->whole, where);
}

/* Who has mounted the FUSE filesystem that the directory lies in; 0: it is no such, or root has. */
static unsigned mounted_by(int dir, const struct stat *st)
{
	AUTO_BUF text = BUF_INIT;
	struct statfs fs;
	unsigned one_major, one_minor, user = 0;
	char *state = NULL;

	if (fstatfs(dir, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC || file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &text) < 0)
		return 0;
	buf_add_u8(&text, 0);
	for (char *line = strtok_r((char *)text.data, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
		/* the last word is the kernel's; what is before it, type and source, is what the user says */
		const char *options = strrchr(line, ' '), *id = options ? strstr(options, ",user_id=") : NULL;

		if (sscanf(line, "%*u %*u %u:%u", &one_major, &one_minor) != 2 || makedev(one_major, one_minor) != st->st_dev)
			continue;
		if (id && sscanf(id, ",user_id=%u", &user) == 1)
			break;
	}
	return user;
}

static int check(const struct walk *walk, bool last, struct error *err)
{
	struct stat st;
	unsigned user;

	if (fstat(walk->at, &st) < 0)
		return -errno;
	user = mounted_by(walk->at, &st);
	if (user)
		return error_set(err, -EPERM, "root does not open %s: user %u has mounted what it lies in, and says whose the files there are", walk->whole, user);
	if (!trusted_owner(st.st_uid) && !(is_outside_root(st.st_uid) && !last))
		return refuse(walk, &st, err);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && (last || !(st.st_mode & S_ISVTX)))
		return refuse(walk, &st, err);
	return 0;
}

static void move_to(struct walk *walk, int fd)
{
	close(walk->at);
	walk->at = fd;
}

static int follow(struct walk *walk, int link, struct error *err)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(link, "", target, sizeof(target) - 1);

	if (len < 0)
		return -errno;
	if (++walk->links > LINKS_MAX)
		return -ELOOP;
	target[len] = '\0';
	char *rest = xasprintf("%s/%s", target, walk->rest);
	free(walk->rest);
	walk->rest = rest;
	if (target[0] != '/')
		return 0;
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	move_to(walk, root);
	return check(walk, false, err);
}

/* One name further. 1: there is none. */
static int step(struct walk *walk, struct error *err)
{
	char *name = walk->rest + strspn(walk->rest, "/");
	size_t len = strcspn(name, "/");
	struct stat st;

	if (len == 0)
		return 1;
	AUTO_FREE char *one = xasprintf("%.*s", (int)len, name);
	char *rest = xstrdup(name + len);
	free(walk->rest);
	walk->rest = rest;
	int fd = openat(walk->at, one, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = fstat(fd, &st) < 0 ? -errno : 0;
	if (result == 0 && S_ISLNK(st.st_mode)) {
		if (trusted_owner(st.st_uid) || is_outside_root(st.st_uid))
			result = follow(walk, fd, err);
		else
			result = error_set(err, -EPERM, "root does not open %s: user %u owns the symbolic link %s on the way", walk->whole,
					   (unsigned)st.st_uid, one);
		close(fd);
		return result;
	}
	if (result == 0 && !S_ISDIR(st.st_mode))
		result = -ENOTDIR;
	if (result < 0) {
		close(fd);
		return result;
	}
	move_to(walk, fd);
	return check(walk, false, err);
}

static int walk_to(const char *path, struct walk *walk, struct error *err)
{
	AUTO_FREE char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
	int result;

	if (path[0] != '/' && !cwd)
		return -errno;
	walk->rest = xasprintf("%s/%s", cwd ? cwd : "", path);
	walk->at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (walk->at < 0)
		return -errno;
	result = check(walk, false, err);
	while (result == 0)
		result = step(walk, err);
	return result < 0 ? result : check(walk, true, err);
}

static int check_way(const char *path, int fd, struct error *err)
{
	struct walk walk = {.at = -1, .whole = path};
	int result = walk_to(path, &walk, err);
	struct stat here, there;

	if (result == 0 && (fstat(fd, &here) < 0 || fstat(walk.at, &there) < 0))
		result = -errno;
	/* Somebody has replaced a part of the path since. */
	if (result == 0 && (here.st_dev != there.st_dev || here.st_ino != there.st_ino))
		result = -EAGAIN;
	if (walk.at >= 0)
		close(walk.at);
	free(walk.rest);
	return result;
}

int trusted_open(const char *path, int *ret_fd, struct error *err)
{
	/* Opening it first also mounts what is mounted on demand. */
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 ? -errno : 0;

	if (result == 0 && geteuid() == 0)
		result = check_way(path, fd, err);
	if (result < 0) {
		if (fd >= 0)
			close(fd);
		return result;
	}
	*ret_fd = fd;
	return 0;
}
