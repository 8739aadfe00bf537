/*
 * A backup into a plain directory. Members come directory by directory, so the directories on the way to the current one are open, one
 * descriptor each; nothing is reached by a path, and no symbolic link is followed. A file is written under another name and gets its own when
 * all of it is there; a directory gets its times when it is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "lib/backup/restore.h"
#include "lib/backup/restore_source.h"
#include "lib/base/file.h"
#include "lib/tree/files/acl.h"

#define TEMPORARY ".corpusfs-restore-"

struct open_dir {
	int fd;
	size_t path_len; /* of its path */
	struct timespec times[2];
	uint32_t mode;
};

struct directory_restore {
	struct restore restore;
	struct transfer transfer;
	struct archive_source members;
	ARRAY(struct open_dir) dirs; /* the target first */
	struct buf path; /* of the last one */
	bool is_root;
};

static void problem(struct directory_restore *restore, const char *path, int code, const char *text)
{
	transfer_problem(&restore->transfer, "", path, code, text);
}

/* --- attributes --- */

/* A user cannot give files away, and keeps what is his without set-id bits. */
static int set_owner_and_mode(struct directory_restore *restore, int fd, const struct archive_member *member)
{
	uint32_t mode = member->mode & 07777;

	if (fchown(fd, member->uid, member->gid) < 0) {
		if (restore->is_root)
			return -errno;
		mode &= 01777;
	}
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

static void set_xattrs(struct directory_restore *restore, const char *fd_path, const char *path, const struct archive_found *found)
{
	for (size_t i = 0; i < found->xattr_count; i++) {
		const struct archive_xattr *xattr = &found->xattrs[i];

		if (lsetxattr(fd_path, xattr->name, xattr->value, xattr->len, 0) < 0) {
			AUTO_FREE char *text = xasprintf("kept without its extended attribute %s", xattr->name);
			problem(restore, path, -errno, text);
		}
	}
}

/* Of an open file or directory. */
static int set_attributes(struct directory_restore *restore, int fd, const char *path, const struct archive_found *found)
{
	AUTO_FREE char *fd_path = xasprintf("/proc/self/fd/%d", fd);
	int r = set_owner_and_mode(restore, fd, &found->member);

	for (size_t i = 0; i < found->xattr_count && r == 0; i++) {
		const struct archive_xattr *xattr = &found->xattrs[i];

		if (fsetxattr(fd, xattr->name, xattr->value, xattr->len, 0) < 0) {
			AUTO_FREE char *text = xasprintf("kept without its extended attribute %s", xattr->name);
			problem(restore, path, -errno, text);
		}
	}
	return r;
}

/* --- directories --- */

static void leave_dir(struct directory_restore *restore)
{
	struct open_dir dir = array_pop(&restore->dirs);

	(void)futimens(dir.fd, dir.times);
	close(dir.fd);
}

static struct open_dir *current(struct directory_restore *restore)
{
	return array_last(&restore->dirs);
}

/* Leaves directories until the path lies in the last one. Returns its name there. NULL: its directory could not be made. */
static const char *go_to(struct directory_restore *restore, const char *path)
{
	const char *slash = strrchr(path, '/');
	const size_t len = slash ? (size_t)(slash - path) : 0;
	size_t parent = restore->dirs.count;

	/* The path of a directory on the way is the beginning of the last one's. */
	while (parent > 0 && (restore->dirs.items[parent - 1].path_len != len || (len > 0 && memcmp(restore->path.data, path, len) != 0)))
		parent--;
	if (parent == 0)
		return NULL;
	while (restore->dirs.count > parent)
		leave_dir(restore);
	restore->path.len = current(restore)->path_len;
	return slash ? slash + 1 : path;
}

static int enter_dir(struct directory_restore *restore, const char *name, const char *path, const struct archive_found *found)
{
	const struct archive_member *member = &found->member;
	struct open_dir dir = {.path_len = strlen(path), .times = {member->atime, member->mtime}};
	int r;

	if (mkdirat(current(restore)->fd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	dir.fd = openat(current(restore)->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir.fd < 0)
		return -errno;
	r = set_attributes(restore, dir.fd, path, found);
	array_add(&restore->dirs, dir);
	buf_reset(&restore->path);
	buf_add(&restore->path, path, strlen(path));
	atomic_fetch_add(&restore->transfer.directories, 1);
	return r;
}

/* --- files --- */

static bool is_there(struct directory_restore *restore, const char *name, const struct archive_member *member)
{
	struct stat st;

	return fstatat(current(restore)->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && S_ISREG(member->mode) &&
	       (uint64_t)st.st_size == member->size && st.st_mtim.tv_sec == member->mtime.tv_sec && st.st_mtim.tv_nsec == member->mtime.tv_nsec;
}

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t put = pwrite(fd, data, len, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		data += put;
		len -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

/* 1: the source failed. */
static int write_content(struct directory_restore *restore, int fd, const struct archive_member *member)
{
	const void *data;
	uint64_t offset, end = 0;
	size_t len;
	int r;

	while ((r = restore->members.data(restore->members.arg, &data, &len, &offset)) == 1) {
		if (transfer_stopped(&restore->transfer))
			return -ECANCELED;
		if (offset > member->size || len > member->size - offset)
			r = -EBADMSG;
		else
			r = write_at(fd, data, len, offset);
		if (r < 0)
			return r == -EBADMSG ? 1 : r;
		end = offset + len;
		atomic_fetch_add(&restore->transfer.bytes, len);
	}
	if (r < 0 || (end < member->size && !member->has_holes))
		return 1;
	return ftruncate(fd, (off_t)member->size) < 0 ? -errno : 0;
}

/* A regular file under a temporary name. */
static int write_file(struct directory_restore *restore, const char *temporary, const char *path, const struct archive_found *found)
{
	const struct timespec times[2] = {found->member.atime, found->member.mtime};
	AUTO_CLOSE int fd = openat(current(restore)->fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = write_content(restore, fd, &found->member);
	if (r == 0)
		r = set_attributes(restore, fd, path, found);
	if (r == 0 && futimens(fd, times) < 0)
		r = -errno;
	return r;
}

/* Anything else that is no directory. */
static int make_special(struct directory_restore *restore, const char *temporary, const char *path, const struct archive_found *found)
{
	const struct archive_member *member = &found->member;
	const struct timespec times[2] = {member->atime, member->mtime};
	const int dir = current(restore)->fd;
	AUTO_FREE char *fd_path = xasprintf("/proc/self/fd/%d/%s", dir, temporary);
	int r = S_ISLNK(member->mode) ? symlinkat(member->target ? member->target : "", dir, temporary)
	                              : mknodat(dir, temporary, member->mode & (S_IFMT | 0777), member->rdev);

	if (r < 0)
		return -errno;
	if (fchownat(dir, temporary, member->uid, member->gid, AT_SYMLINK_NOFOLLOW) < 0 && restore->is_root)
		return -errno;
	if (!S_ISLNK(member->mode) && fchmodat(dir, temporary, member->mode & 07777, 0) < 0)
		return -errno;
	set_xattrs(restore, fd_path, path, found);
	return utimensat(dir, temporary, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* The first name was made from the target on, through directories that may be left already. */
static int make_link(struct directory_restore *restore, const char *temporary, const char *from)
{
	const struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	AUTO_CLOSE int fd = (int)syscall(SYS_openat2, restore->dirs.items[0].fd, from, &how, sizeof(how));
	AUTO_FREE char *fd_path = NULL;

	if (fd < 0)
		return -errno;
	fd_path = xasprintf("/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, fd_path, current(restore)->fd, temporary, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int make_file(struct directory_restore *restore, const char *name, const char *path, const struct archive_found *found)
{
	char temporary[64];
	int r;

	if (!found->member.hardlink && is_there(restore, name, &found->member)) {
		atomic_fetch_add(&restore->transfer.skipped, 1);
		return 0;
	}
	(void)snprintf(temporary, sizeof(temporary), TEMPORARY "%ld", (long)getpid());
	(void)unlinkat(current(restore)->fd, temporary, 0);
	if (found->member.hardlink)
		r = make_link(restore, temporary, found->member.hardlink);
	else if (S_ISREG(found->member.mode))
		r = write_file(restore, temporary, path, found);
	else
		r = make_special(restore, temporary, path, found);
	if (r == 0 && renameat(current(restore)->fd, temporary, current(restore)->fd, name) < 0)
		r = -errno;
	/* Between two names of one file, rename does nothing. */
	(void)unlinkat(current(restore)->fd, temporary, 0);
	if (r == 0)
		atomic_fetch_add(found->member.hardlink ? &restore->transfer.links : &restore->transfer.files, 1);
	return r;
}

/* --- the whole --- */

static bool is_name(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void take_member(struct directory_restore *restore, const struct archive_found *found)
{
	const char *path = found->member.path, *name;
	int r;

	if (found->problem) {
		problem(restore, path, -EBADMSG, found->problem);
		return;
	}
	if (strcmp(path, ".") == 0) {
		current(restore)->times[0] = found->member.atime;
		current(restore)->times[1] = found->member.mtime;
		r = set_attributes(restore, current(restore)->fd, ".", found);
		if (r < 0)
			problem(restore, path, r, NULL);
		return;
	}
	name = go_to(restore, path);
	if (!name) {
		problem(restore, path, -ENOENT, "left out: its directory could not be made");
		return;
	}
	if (!is_name(name)) {
		problem(restore, path, -EINVAL, "this is no name of a file");
		return;
	}
	r = S_ISDIR(found->member.mode) ? enter_dir(restore, name, path, found) : make_file(restore, name, path, found);
	if (r == 1)
		transfer_fail(&restore->transfer, -EBADMSG, "%s: %s: %s", restore->restore.options->place, path, restore->members.problem(restore->members.arg));
	else if (r == -ENOSPC || r == -EDQUOT)
		transfer_fail(&restore->transfer, r, "no room is left for %s", restore->restore.options->target);
	else if (r < 0 && r != -ECANCELED)
		problem(restore, path, r, NULL);
}

static void restore_main(void *arg)
{
	struct directory_restore *restore = arg;
	struct archive_found found;
	int r = 0;

	while (!transfer_stopped(&restore->transfer) && (r = restore->members.next(restore->members.arg, &found)) == 1)
		take_member(restore, &found);
	if (r < 0)
		transfer_fail(&restore->transfer, r, "%s: %s", restore->restore.options->place, restore->members.problem(restore->members.arg));
}

static void bring_in(struct directory_restore *restore)
{
	const transfer_fn functions[] = {restore_main};
	int fd = fcntl(restore->restore.options->target_fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0) {
		transfer_fail(&restore->transfer, -errno, "%s: %s", restore->restore.options->target, strerror(errno));
		return;
	}
	restore->is_root = geteuid() == 0;
	restore->members = restore_source_members(restore->restore.source);
	array_add(&restore->dirs, (struct open_dir){.fd = fd, .times = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}}});
	transfer_run(&restore->transfer, functions, 1, restore);
	while (restore->dirs.count > 0)
		leave_dir(restore);
	transfer_tell(&restore->transfer, "sync");
	if (!transfer_stopped(&restore->transfer) && syncfs(restore->restore.options->target_fd) < 0)
		transfer_fail(&restore->transfer, -errno, "%s could not be brought to the disk: %s", restore->restore.options->target, strerror(errno));
	array_clear(&restore->dirs);
	buf_clear(&restore->path);
}

int restore_to_directory(struct store *store, const struct restore_options *options, struct restore_result *ret_result, struct error *err)
{
	struct directory_restore restore = {.restore = {.options = options, .store = store, .result = ret_result}};
	int r, failed;

	*ret_result = (struct restore_result){0};
	transfer_begin(&restore.transfer, &options->transfer);
	r = restore_begin(&restore.restore, err);
	if (r == 0)
		bring_in(&restore);
	restore_end(&restore.restore);
	failed = transfer_end(&restore.transfer, &ret_result->transfer, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
