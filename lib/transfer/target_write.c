#include "lib/transfer/target_write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/transfer/target_attributes.h"

struct writing {
	int fd;
	int error; /* of the target */
};

/* --- names --- */

bool target_is_temporary(const char *name)
{
	return strncmp(name, TARGET_TEMPORARY, strlen(TARGET_TEMPORARY)) == 0;
}

void target_temporary(struct target_dirs *dirs, struct target_dir *dir, uint64_t ino, char ret_name[TARGET_TEMPORARY_MAX])
{
	struct attr attr;
	unsigned number = 0;

	do {
		snprintf(ret_name, TARGET_TEMPORARY_MAX, TARGET_TEMPORARY "%llu-%u", (unsigned long long)ino, number++);
	} while (dir->has_alike && view_lookup(dirs->export->view, dir->ino, ret_name, &attr) == 0);
	/* An export that was killed may have left it. */
	if (!dir->existed)
		return;
	impersonate_begin(&dirs->export->transfer.caller);
	(void)!unlinkat(dir->held.fd, ret_name, 0);
	impersonate_end(&dirs->export->transfer.caller);
}

/* In a new directory nothing has the name, unless the target takes two of our names for one. */
int target_rename(const struct target_dir *dir, const char *temporary, const char *name)
{
	struct stat st;

	if (dir->existed)
		return renameat(dir->held.fd, temporary, dir->held.fd, name) < 0 ? -errno : 0;
	if (renameat2(dir->held.fd, temporary, dir->held.fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	if (fstatat(dir->held.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (errno != ENOENT)
		return -errno;
	return renameat(dir->held.fd, temporary, dir->held.fd, name) < 0 ? -errno : 0;
}

/* --- what is there --- */

static bool same_target(struct target_dirs *dirs, const struct target_dir *dir, const char *name, uint64_t ino)
{
	AUTO_BUF wanted = BUF_INIT;
	char has[PATH_MAX];
	ssize_t len;

	impersonate_begin(&dirs->export->transfer.caller);
	len = readlinkat(dir->held.fd, name, has, sizeof(has));
	impersonate_end(&dirs->export->transfer.caller);
	return len >= 0 && view_readlink(dirs->export->view, ino, &wanted) == 0 && wanted.len == (size_t)len &&
	       memcmp(wanted.data, has, wanted.len) == 0;
}

bool target_is_there(struct target_dirs *dirs, struct target_dir *dir, const char *name, const struct attr *attr)
{
	const struct impersonate *caller = &dirs->export->transfer.caller;
	struct stat st;
	bool is_there;

	if (!dir->existed)
		return false;
	impersonate_begin(caller);
	is_there = fstatat(dir->held.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	impersonate_end(caller);
	if (!is_there || (st.st_mode & S_IFMT) != (attr->mode & S_IFMT) || !target_attributes_same_time(attr->mtime, st.st_mtim))
		return false;
	/* A file with holes got its length first: after a power cut it may have the length and the time, and zeros for the rest. */
	if (S_ISREG(attr->mode))
		return (uint64_t)st.st_size == attr->size && attr->allocated >= attr->size;
	return S_ISLNK(attr->mode) ? same_target(dirs, dir, name, attr->ino) : st.st_rdev == attr->rdev;
}

/* --- writing --- */

static int write_piece(void *arg, const void *data, size_t len, uint64_t offset)
{
	struct writing *writing = arg;
	size_t done = 0;

	writing->error = fault_point("export-write");
	while (done < len && writing->error == 0) {
		ssize_t written = pwrite(writing->fd, (const char *)data + done, len - done, (off_t)(offset + done));

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			writing->error = written < 0 ? -errno : -EIO;
		else
			done += (size_t)written;
	}
	return writing->error;
}

static int write_content(struct target_dirs *dirs, const struct item *item, struct writing *writing, uint8_t *piece)
{
	int r = 0;

	if (item->extras.has_holes && ftruncate(writing->fd, (off_t)item->attr.size) < 0)
		r = writing->error = -errno;
	if (r == 0)
		r = item_read(dirs->export, item, piece, write_piece, writing);
	return r == 0 && item_changed(dirs->export, item) ? -EAGAIN : r;
}

/* Some filesystems tell only now that a write failed. */
static int close_file(struct writing *writing)
{
	int r = 0;

	if (writing->fd >= 0 && close(writing->fd) < 0)
		r = writing->error = -errno;
	writing->fd = -1;
	return r;
}

static int make_regular(struct target_dirs *dirs, struct target_dir *dir, const char *temporary, const struct item *item, uint8_t *piece,
			struct target_lost *lost)
{
	struct export *export = dirs->export;
	struct writing writing = {.fd = -1};
	int r, closed;

	impersonate_begin(&export->transfer.caller);
	writing.fd = openat(dir->held.fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = writing.fd < 0 ? -errno : 0;
	if (r == 0 && dir->has_default_acl)
		target_attributes_drop_acls(&(struct target_file){.fd = writing.fd}, false);
	impersonate_end(&export->transfer.caller);
	if (r == 0)
		r = write_content(dirs, item, &writing, piece);
	impersonate_begin(&export->transfer.caller);
	if (r == 0)
		r = target_attributes_set(export, &(struct target_file){.dir_fd = dir->held.fd, .name = temporary, .fd = writing.fd}, item, lost);
	if (r == 0 && dir->by_file && fsync(writing.fd) < 0)
		r = writing.error = -errno;
	closed = close_file(&writing);
	impersonate_end(&export->transfer.caller);
	/* The medium is at its end, or the network: it will not be better with the next file. */
	if (writing.error == -EIO || writing.error == -EROFS)
		transfer_fail(&export->transfer, writing.error, "%s cannot be written: %s", export->options->target, strerror(-writing.error));
	return r < 0 ? r : closed;
}

static int make_other(struct target_dirs *dirs, struct target_dir *dir, const char *temporary, const struct item *item,
		      struct target_lost *lost)
{
	const struct target_file file = {.dir_fd = dir->held.fd, .name = temporary, .fd = -1};
	const mode_t type = item->attr.mode & S_IFMT;
	int r;

	impersonate_begin(&dirs->export->transfer.caller);
	if (type == S_IFLNK)
		r = symlinkat((const char *)item->extras.target.data, dir->held.fd, temporary);
	else
		r = mknodat(dir->held.fd, temporary, type | 0600, item->attr.rdev);
	r = r < 0 ? -errno : 0;
	if (r == 0 && dir->has_default_acl && type != S_IFLNK)
		target_attributes_drop_acls(&file, false);
	if (r == 0)
		r = fault_point("export-before-attributes");
	if (r == 0)
		r = target_attributes_set(dirs->export, &file, item, lost);
	impersonate_end(&dirs->export->transfer.caller);
	return r;
}

int target_write(struct target_dirs *dirs, struct target_dir *dir, const char *name, uint64_t ino, uint8_t *piece)
{
	const struct impersonate *caller = &dirs->export->transfer.caller;
	char temporary[TARGET_TEMPORARY_MAX];
	struct target_lost lost = {0};
	struct item item;
	int r = item_open(dirs->export, ino, &item);

	target_temporary(dirs, dir, ino, temporary);
	if (r == 0 && S_ISREG(item.attr.mode))
		r = make_regular(dirs, dir, temporary, &item, piece, &lost);
	else if (r == 0)
		r = make_other(dirs, dir, temporary, &item, &lost);
	item_close(&item);
	if (r == 0)
		r = fault_point("export-before-rename");
	impersonate_begin(caller);
	if (r == 0)
		r = target_rename(dir, temporary, name);
	if (r < 0)
		(void)!unlinkat(dir->held.fd, temporary, 0);
	impersonate_end(caller);
	if (r == 0 && lost.code)
		target_dir_problem(dirs, dir, name, lost.code, (const char *)lost.text.data);
	buf_clear(&lost.text);
	return r;
}
