#include "lib/kv/database_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/trusted.h"
#include "lib/kv/manifest.h"

/* Something that only a database has. */
static int was_one(int dir)
{
	DIR *entries = file_entries(dir);
	bool found = false;
	const char *name;
	int more = 0;

	if (!entries)
		return -errno;
	while (!found && (more = file_next_entry(entries, &name)) > 0) {
		const char *dot = strrchr(name, '.');
		found = strncmp(name, MANIFEST_PREFIX, strlen(MANIFEST_PREFIX)) == 0 || (dot && strcmp(dot, ".sst") == 0);
	}
	closedir(entries);
	return more < 0 ? more : found;
}

static int look_for_database(int dir, const char *shown, bool create, struct error *err)
{
	struct stat st;
	bool exists = fstatat(dir, "CURRENT", &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (!exists && errno != ENOENT)
		return error_set(err, -errno, "%s/CURRENT: %s", shown, strerror(errno));
	if (create && exists)
		return error_set(err, -EEXIST, "%s: there is a database already", shown);
	const int was = !create && !exists ? was_one(dir) : 0;
	if (was < 0)
		return error_set(err, was, "%s: %s", shown, error_text(was));
	if (!create && !exists && !was)
		return error_set(err, -ENOENT, "%s: there is no database", shown);
	if (!create && !exists) {
		error_set(err, -EBADMSG, "%s/CURRENT: is missing", shown);
		error_hint(err, DATABASE_HINT_MEND);
		return -EBADMSG;
	}
	return 0;
}

/* Everything in it is a regular file, and for root a file of root's. */
static int check_entry(int dir, const char *name, const char *shown, struct error *err)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_set(err, -errno, "%s/%s: %s", shown, name, strerror(errno));
	if (!S_ISREG(st.st_mode)) {
		error_set(err, -EBADMSG, "%s/%s is not a regular file, which RocksDB never makes there", shown, name);
		error_hint(err, "find out who put it there; nothing was changed");
		return -EBADMSG;
	}
	if (!trusted_owner(st.st_uid)) {
		error_set(err, -EPERM, "root does not open %s: user %u owns the file %s in it", shown, (unsigned)st.st_uid, name);
		error_hint(err, "give all of the store to root (chown -R), or act as the store's owner");
		return -EPERM;
	}
	return 0;
}

static int check_entries(DIR *dir, const char *shown, struct error *err)
{
	const char *name;
	struct stat st;
	int result = 0, more;

	if (fstat(dirfd(dir), &st) == 0 && (!trusted_owner(st.st_uid) || (geteuid() == 0 && (st.st_mode & (S_IWGRP | S_IWOTH))))) {
		error_set(err, -EPERM, "root does not open %s: other users can write in it", shown);
		error_hint(err, "give all of the store to root (chown -R), or act as the store's owner");
		return -EPERM;
	}
	while (result == 0 && (more = file_next_entry(dir, &name)) != 0)
		result = more < 0 ? error_set(err, more, "%s: %s", shown, strerror(-more)) : check_entry(dirfd(dir), name, shown, err);
	return result;
}

int database_dir_check(const char *path, const char *shown, bool create, struct error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int result;

	if (!dir) {
		if (errno == ENOTDIR || errno == ELOOP)
			return error_set(err, -EBADMSG, "%s is not a directory", shown);
		if (errno == ENOENT && create)
			return 0;
		result = errno == ENOENT ? error_set(err, -ENOENT, "%s: there is no database", shown)
		                         : error_set(err, -errno, "%s: %s", shown, strerror(errno));
		if (fd >= 0)
			close(fd);
		return result;
	}
	result = check_entries(dir, shown, err);
	if (result == 0)
		result = look_for_database(dirfd(dir), shown, create, err);
	closedir(dir);
	return result;
}
