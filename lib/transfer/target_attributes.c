#include "lib/transfer/target_attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/transfer/acl_format.h"
#include "lib/tree/files/acl.h"

#define LOST_MAX 400 /* bytes of the text */

/* Of such a failure the whole export is the victim, not one attribute. */
static bool is_fatal(int code)
{
	return code == -EIO || code == -EROFS || code == -ENOENT || code == -EBADF;
}

static void add_lost(struct target_lost *lost, int code, const char *what, const char *name)
{
	if (lost->code == 0)
		lost->code = code < 0 ? code : -EOPNOTSUPP;
	if (lost->text.len > LOST_MAX)
		return;
	if (lost->text.len == 0)
		buf_addf(&lost->text, "kept without its ");
	else
		buf_addf(&lost->text, ", ");
	buf_addf(&lost->text, "%s%s", what, name);
	if (lost->text.len > LOST_MAX)
		buf_addf(&lost->text, ", ...");
}

/* --- extended attributes --- */

static int set_xattr(const struct target_file *file, const char *name, const void *value, size_t len)
{
	AUTO_FREE char *path = NULL;

	if (file->fd >= 0)
		return fsetxattr(file->fd, name, value, len, 0) < 0 ? -errno : 0;
	path = xasprintf("/proc/self/fd/%d/%s", file->dir_fd, file->name);
	return lsetxattr(path, name, value, len, 0) < 0 ? -errno : 0;
}

static void remove_xattr(const struct target_file *file, const char *name)
{
	AUTO_FREE char *path = NULL;

	if (file->fd >= 0) {
		(void)!fremovexattr(file->fd, name);
		return;
	}
	path = xasprintf("/proc/self/fd/%d/%s", file->dir_fd, file->name);
	(void)!lremovexattr(path, name);
}

void target_attributes_drop_acls(const struct target_file *file, bool is_dir)
{
	remove_xattr(file, ACL_ACCESS);
	if (is_dir)
		remove_xattr(file, ACL_DEFAULT);
}

/* Root's daemon has the capabilities for the others; the user does not. */
static bool may_set(const struct export *export, const char *name)
{
	return !export->transfer.caller.active || strncmp(name, "user.", 5) == 0 || strcmp(name, ACL_ACCESS) == 0 ||
	       strcmp(name, ACL_DEFAULT) == 0;
}

static int set_xattrs(const struct export *export, const struct target_file *file, const struct item *item, struct target_lost *lost)
{
	for (size_t i = 0; i < item->extras.xattrs.count; i++) {
		const struct archive_xattr *xattr = &item->extras.xattrs.items[i];
		int r = may_set(export, xattr->name) ? set_xattr(file, xattr->name, xattr->value, xattr->len) : -EPERM;

		if (is_fatal(r))
			return r;
		if (r < 0)
			add_lost(lost, r, "attribute ", xattr->name);
		/* The mode stays what is safe without it. */
		lost->mode |= r < 0 && strcmp(xattr->name, ACL_ACCESS) == 0;
	}
	return 0;
}

/* --- owner, mode, times --- */

static int set_owner(const struct export *export, const struct target_file *file, const struct attr *attr, struct target_lost *lost)
{
	const int dir_fd = file->fd >= 0 ? file->fd : file->dir_fd;
	const char *name = file->fd >= 0 ? "" : file->name;
	int r;

	if (fchownat(dir_fd, name, attr->uid, attr->gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0)
		return 0;
	r = -errno;
	if (impersonate_is_root(&export->transfer.caller) && !is_fatal(r))
		add_lost(lost, r, "owner", "");
	/* A user may give files to his own groups. */
	else if (!is_fatal(r))
		(void)!fchownat(dir_fd, name, (uid_t)-1, attr->gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
	return is_fatal(r) ? r : 1;
}

static int get_status(const struct target_file *file, struct stat *st)
{
	int r = file->fd >= 0 ? fstat(file->fd, st) : fstatat(file->dir_fd, file->name, st, AT_SYMLINK_NOFOLLOW);

	return r < 0 ? -errno : 0;
}

static int set_mode(const struct target_file *file, mode_t mode, struct target_lost *lost)
{
	/* Whoever else may change the directory may have put a link in its place. */
	int r = file->fd >= 0 ? fchmod(file->fd, mode) : fchmodat(file->dir_fd, file->name, mode, AT_SYMLINK_NOFOLLOW);

	r = r < 0 ? -errno : 0;
	lost->mode = r < 0;
	if (r < 0 && !is_fatal(r))
		add_lost(lost, r, "mode", "");
	return is_fatal(r) ? r : 0;
}

static int set_times(const struct target_file *file, const struct attr *attr, struct target_lost *lost)
{
	const struct timespec times[] = {attr->atime, attr->mtime};
	int r = file->fd >= 0 ? futimens(file->fd, times) : utimensat(file->dir_fd, file->name, times, AT_SYMLINK_NOFOLLOW);

	r = r < 0 ? -errno : 0;
	lost->times = r < 0;
	if (r < 0 && !is_fatal(r))
		add_lost(lost, r, "times", "");
	return is_fatal(r) ? r : 0;
}

bool target_attributes_same_time(struct timespec wanted, struct timespec has)
{
	if (wanted.tv_sec == has.tv_sec && wanted.tv_nsec == has.tv_nsec)
		return true;
	if (wanted.tv_sec == has.tv_sec && has.tv_nsec % 100 == 0 && has.tv_nsec <= wanted.tv_nsec && has.tv_nsec + 100 > wanted.tv_nsec)
		return true;
	return has.tv_nsec == 0 && has.tv_sec <= wanted.tv_sec && has.tv_sec + 2 > wanted.tv_sec;
}

/* Some filesystems say yes and do something else, or nothing. */
static int check_kept(const struct target_file *file, const struct attr *attr, mode_t mode, struct target_lost *lost)
{
	struct stat st;
	int r = get_status(file, &st);

	if (r < 0)
		return r;
	if (!S_ISLNK(attr->mode) && (st.st_mode & 07777) != mode && !lost->mode)
		add_lost(lost, 0, "mode", "");
	if (!target_attributes_same_time(attr->mtime, st.st_mtim) && !lost->times)
		add_lost(lost, 0, "time of change", "");
	return 0;
}

int target_attributes_set(const struct export *export, const struct target_file *file, const struct item *item, struct target_lost *lost)
{
	const struct attr *attr = &item->attr;
	const struct archive_xattr *acl = extras_xattr(&item->extras, ACL_ACCESS);
	mode_t mode = attr->mode & 07777, safe;
	struct stat st;
	int r = set_owner(export, file, attr, lost);

	if (r == 1 && get_status(file, &st) == 0) {
		mode &= ~(mode_t)((st.st_uid != attr->uid ? S_ISUID : 0) | (st.st_gid != attr->gid ? S_ISGID : 0));
		if (mode != (attr->mode & 07777))
			add_lost(lost, -EPERM, "set-id bits", "");
	}
	/* Until the ACL is there, and if it never is, nobody may do more than the ACL allows. */
	safe = acl ? acl_mode_without(acl->value, acl->len, mode) : mode;
	if (r >= 0 && !S_ISLNK(attr->mode))
		r = set_mode(file, safe, lost);
	if (r >= 0)
		r = set_xattrs(export, file, item, lost);
	if (r >= 0)
		r = set_times(file, attr, lost);
	return r < 0 ? r : check_kept(file, attr, mode, lost);
}
