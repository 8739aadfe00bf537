#include "lib/backup/restore_attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/tree/files/acl.h"

static bool has_owner(const struct stat *st, const struct node *node)
{
	return st->st_uid == node->uid && st->st_gid == node->gid;
}

/* A user cannot give files away, and keeps what is his without set-id bits. */
static int set_owner_and_mode(struct restore_target *target, int fd, const struct node *node)
{
	uint32_t mode = node->mode & 07777;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!has_owner(&st, node) && fchown(fd, node->uid, node->gid) < 0) {
		if (target->is_root)
			return -errno;
		mode &= 01777;
		target->cuts_modes |= mode != (node->mode & 07777);
	}
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

/* --- extended attributes --- */

bool restore_attributes_has_xattr(const struct node *node, const char *name)
{
	for (size_t i = 0; i < node->xattrs.count; i++)
		if (strcmp(node->xattrs.items[i].name, name) == 0)
			return true;
	return false;
}

/* What people and programs give a file, which is what backups are of. */
static bool is_given(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 || strcmp(name, "security.capability") == 0 ||
	       strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

static void remove_other(struct restore_target *target, int fd, const char *path, const char *name)
{
	AUTO_FREE char *text = NULL;

	if (fremovexattr(fd, name) == 0 || errno == ENODATA)
		return;
	text = xasprintf("kept with the extended attribute %s, which the backup has not", name);
	transfer_problem(target->transfer, "", path, -errno, text);
}

/* It had them, or has inherited an ACL from the directory that is restored into. */
static void remove_others(struct restore_target *target, int fd, const char *path, const struct node *node)
{
	ssize_t len = flistxattr(fd, NULL, 0);
	AUTO_BUF names = BUF_INIT;

	if (len <= 0)
		return;
	buf_reserve(&names, (size_t)len);
	len = flistxattr(fd, (char *)names.data, (size_t)len);
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen((char *)names.data + at) + 1) {
		const char *name = (char *)names.data + at;

		if (is_given(name) && !restore_attributes_has_xattr(node, name))
			remove_other(target, fd, path, name);
	}
}

/* --- times --- */

/* Any filesystem has those between. */
static bool is_usual(struct timespec time)
{
	return time.tv_sec >= 0 && time.tv_sec <= INT32_MAX;
}

void restore_attributes_times(struct restore_target *target, const struct stat *st, const char *path, const struct node *node)
{
	struct restore_clamped *clamped = target->clamped;

	if (st->st_mtim.tv_sec == node->mtime.tv_sec && st->st_atim.tv_sec == node->atime.tv_sec)
		return;
	pthread_mutex_lock(&clamped->lock);
	if (clamped->count < RESTORE_CLAMPED_NAMES)
		buf_addf(&clamped->names, "%s%s", clamped->count == 0 ? "" : ", ", *path ? path : ".");
	clamped->count++;
	pthread_mutex_unlock(&clamped->lock);
}

static int set_times(struct restore_target *target, int fd, const char *path, const struct node *node)
{
	const struct timespec times[2] = {node->atime, node->mtime};
	struct stat st;

	if (futimens(fd, times) < 0)
		return -errno;
	if ((!is_usual(node->mtime) || !is_usual(node->atime)) && fstat(fd, &st) == 0)
		restore_attributes_times(target, &st, path, node);
	return 0;
}

int restore_attributes_set(struct restore_target *target, int fd, const char *path, const struct node *node)
{
	int r;

	remove_others(target, fd, path, node);
	r = set_owner_and_mode(target, fd, node);
	for (size_t i = 0; i < node->xattrs.count && r == 0; i++) {
		const struct node_xattr *xattr = &node->xattrs.items[i];

		if (fsetxattr(fd, xattr->name, xattr->value, xattr->len, 0) < 0) {
			AUTO_FREE char *text = xasprintf("kept without its extended attribute %s", xattr->name);
			transfer_problem(target->transfer, "", path, -errno, text);
		}
	}
	return r == 0 ? set_times(target, fd, path, node) : r;
}

/* --- what is there --- */

bool restore_attributes_take(const struct restore_target *target, int fd, const struct node *node)
{
	struct stat st;
	bool is_idle;

	/* Its other names may stand outside of what is restored, and would get its attributes. */
	if (fstat(fd, &st) < 0 || st.st_nlink > 1)
		return false;
	if (has_owner(&st, node) || !target->is_root)
		return true;
	if (fchown(fd, geteuid(), getegid()) < 0 || fchmod(fd, 0600) < 0)
		return false;
	/* The kernel gives a lease on reading where nobody has the file open, or mapped, to write to it. */
	is_idle = fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
	if (is_idle)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return is_idle;
}
