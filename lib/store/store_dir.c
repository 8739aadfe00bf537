#include "lib/store/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/shell.h"
#include "lib/base/trusted.h"

#define SUPERBLOCK_MAX 65536
#define WORD_LEN 16
#define INGEST_NAME "ingest"

/* Neither a file nor what root does not trust can become one. */
static int no_store(const char *path, struct error *err)
{
	return error_set(err, -EMEDIUMTYPE, "%s is not a store", path);
}

/* What init takes: an empty directory, and what an interrupted one has left. */
static bool may_become_store(const struct store_dir *dir)
{
	DIR *entries = file_entries(dir->fd);
	const char *name;
	const bool is_empty = entries && file_next_entry(entries, &name) == 0;

	if (entries)
		closedir(entries);
	return is_empty || store_dir_has(dir, UNFINISHED_NAME);
}

/* err says where others can write. */
static int not_trusted(const char *path, struct error *err)
{
	struct stat st;

	if (stat(path, &st) == 0 && st.st_uid == 0)
		error_hint(err, "take that away from others with chmod or chown");
	else
		error_hint(err, "give the whole way to root alone (chown, chmod), or act as the store's owner with --as-owner");
	return -EPERM;
}

int store_dir_open(const char *path, struct store_dir *ret_dir, struct error *err)
{
	int fd, result = trusted_open(path, &fd, err);

	if (result == -EPERM)
		return not_trusted(path, err);
	if (result == -ENOTDIR)
		return no_store(path, err);
	if (result < 0) {
		error_set(err, result, "cannot open the store %s: %s", path, error_text(result));
		if (result == -ENOENT)
			error_hint_shell(err, "make one with: corpusfs init %s", path);
		return result;
	}
	*ret_dir = (struct store_dir){.fd = fd, .path = realpath(path, NULL)};
	if (!ret_dir->path)
		ret_dir->path = xstrdup(path);
	return 0;
}

void store_dir_close(struct store_dir *dir)
{
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir->path);
	*dir = (struct store_dir)STORE_DIR_CLOSED;
}

char *store_dir_inside(const struct store_dir *dir, const char *name)
{
	return xasprintf("/proc/self/fd/%d/%s", dir->fd, name);
}

bool store_dir_has(const struct store_dir *dir, const char *name)
{
	struct stat st;

	return fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int store_dir_clear(const struct store_dir *dir, const char *name, struct error *err)
{
	AUTO_FREE char *path = store_dir_inside(dir, name);
	int result = mkdirat(dir->fd, name, 0700) < 0 && errno != EEXIST ? -errno : file_empty_dir(path);

	if (result == -ENOTDIR || result == -ELOOP)
		return error_set(err, -EBADMSG, "%s/%s is not a directory", dir->path, name);
	return result < 0 ? error_set(err, result, "%s/%s cannot be cleared: %s", dir->path, name, error_text(result)) : 0;
}

/* STEM, or STEM.WORD. */
static bool is_name(const char *name, const char *stem)
{
	const size_t len = strlen(stem);

	return strncmp(name, stem, len) == 0 &&
	       (!name[len] || (name[len] == '.' && strlen(name + len + 1) == WORD_LEN && strspn(name + len + 1, "0123456789abcdef") == WORD_LEN));
}

int store_dir_find_database(const struct store_dir *dir, char ret_name[DATABASE_NAME_MAX])
{
	DIR *entries = file_entries(dir->fd);
	int result = -ENOENT, more;
	const char *name;

	if (!entries)
		return -errno;
	while ((more = file_next_entry(entries, &name)) > 0)
		if (is_name(name, DATABASE_NAME)) {
			result = result == -ENOENT ? 0 : -EEXIST;
			snprintf(ret_name, DATABASE_NAME_MAX, "%.*s", DATABASE_NAME_MAX - 1, name);
		}
	closedir(entries);
	return more < 0 ? more : result;
}

int store_dir_ingest(const struct store_dir *dir, const char *database, char ret_name[INGEST_NAME_MAX], struct error *err)
{
	DIR *entries = file_entries(dir->fd);

	snprintf(ret_name, INGEST_NAME_MAX, INGEST_NAME "%s", database + strlen(DATABASE_NAME));
	for (struct dirent *entry = entries ? readdir(entries) : NULL; entry; entry = readdir(entries)) {
		AUTO_FREE char *path = store_dir_inside(dir, entry->d_name);
		/* What stays is in nobody's way. */
		if (is_name(entry->d_name, INGEST_NAME) && strcmp(entry->d_name, ret_name) != 0 && file_empty_dir(path) == 0)
			unlinkat(dir->fd, entry->d_name, AT_REMOVEDIR);
	}
	if (entries)
		closedir(entries);
	return store_dir_clear(dir, ret_name, err);
}

int store_dir_rename_database(const struct store_dir *dir, struct error *err)
{
	char now[DATABASE_NAME_MAX], then[DATABASE_NAME_MAX];
	int result = store_dir_find_database(dir, now);
	uint64_t number;

	if (result == -ENOENT)
		return 0;
	if (result == 0 && getrandom(&number, sizeof(number), 0) != sizeof(number))
		result = -EIO;
	if (result == 0) {
		snprintf(then, sizeof(then), DATABASE_NAME ".%016" PRIx64, number);
		if (renameat(dir->fd, now, dir->fd, then) < 0 || fsync(dir->fd) < 0)
			result = -errno;
	}
	return result < 0 ? error_set(err, result, "the database of %s cannot be renamed: %s", dir->path, error_text(result)) : 0;
}

int store_dir_read_superblock(const struct store_dir *dir, const char *file, struct superblock *ret_superblock, struct error *err)
{
	AUTO_FREE char *name = xasprintf("%s/%s", dir->path, file);
	char database[DATABASE_NAME_MAX];
	AUTO_BUF text = BUF_INIT;
	int result = file_read_inside(dir->fd, file, SUPERBLOCK_MAX, &text);

	if (result == -ENOENT && store_dir_find_database(dir, database) != -ENOENT && store_dir_has(dir, "lock") && !store_dir_has(dir, UNFINISHED_NAME)) {
		error_set(err, -EBADMSG, "the store's superblock %s is missing", name);
		error_hint(err, "nothing was changed; " SUPERBLOCK_HINT_MEND);
		return -EBADMSG;
	}
	if (result == -ENOENT) {
		error_set(err, -EMEDIUMTYPE, store_dir_has(dir, UNFINISHED_NAME) ? "%s is not a store: its making was interrupted" : "%s is not a store",
			  dir->path);
		if (may_become_store(dir))
			error_hint_shell(err, "make one with: corpusfs init %s", dir->path);
		return -EMEDIUMTYPE;
	}
	if (result < 0) {
		const char *why = result == -EUCLEAN ? "it is not a regular file" : error_text(result);
		result = error_set(err, result == -EFBIG || result == -EUCLEAN ? -EBADMSG : result, "the superblock %s cannot be read: %s", name, why);
		if (result == -EBADMSG || result == -EIO)
			error_hint(err, "nothing was changed; " SUPERBLOCK_HINT_MEND);
		return result;
	}
	return superblock_decode(name, text.data, text.len, ret_superblock, err);
}

void store_dir_keep_superblock(const struct store_dir *dir, const struct superblock *superblock)
{
	AUTO_FREE char *path = store_dir_inside(dir, SUPERBLOCK_COPY_NAME);
	AUTO_BUF wanted = BUF_INIT, there = BUF_INIT;
	int ignored = file_read_inside(dir->fd, SUPERBLOCK_COPY_NAME, SUPERBLOCK_MAX, &there);

	superblock_encode(superblock, &wanted);
	if (ignored < 0 || there.len != wanted.len || memcmp(there.data, wanted.data, wanted.len) != 0)
		ignored = file_replace(path, wanted.data, wanted.len, 0644);
	(void)ignored;
}

int store_dir_open_store(const char *path, struct store_dir *ret_dir, struct superblock *ret_superblock, struct error *err)
{
	AUTO_FREE char *superblock = xasprintf("%s/" SUPERBLOCK_NAME, path);
	struct store_dir dir = STORE_DIR_CLOSED;
	struct stat st;
	int result = store_dir_open(path, &dir, err);

	/* Root does not open it; whether it is a store can be seen all the same. */
	if (result == -EPERM && lstat(superblock, &st) < 0 && errno == ENOENT)
		return no_store(path, err);
	if (result == 0)
		result = store_dir_read_superblock(&dir, SUPERBLOCK_NAME, ret_superblock, err);
	if (result < 0)
		store_dir_close(&dir);
	else
		*ret_dir = dir;
	return result;
}
