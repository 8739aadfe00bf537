/*
 * Making a store:  directory -> file "unfinished" -> lock -> db/ and ingest/ -> superblock -> "unfinished" removed
 *
 * Only the superblock makes a directory a store, and it comes last. An init that was killed leaves "unfinished" and no superblock: open
 * refuses that directory, and another init starts over. A directory that holds other things and no "unfinished" belongs to somebody
 * else: init refuses it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/shell.h"
#include "lib/kv/kv.h"
#include "lib/store/store_dir.h"
#include "lib/store/lock.h"
#include "lib/store/store.h"
#include "lib/tree/content/space.h"

static int check_parameters(const struct store_parameters *parameters, struct error *err)
{
	const uint32_t sizes[] = {parameters->chunk_min, parameters->chunk_average, parameters->chunk_max};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (sizes[i] < 4096 || sizes[i] > (16U << 20) || (sizes[i] & (sizes[i] - 1)) != 0) {
			error_set(err, -EINVAL, "chunk size %u is not a power of two from 4096 to 16777216", sizes[i]);
			return -EINVAL;
		}
	}
	if (sizes[0] > sizes[1] || sizes[1] > sizes[2])
		return error_set(err, -EINVAL, "chunk sizes must grow: minimum %u, average %u, maximum %u", sizes[0], sizes[1], sizes[2]);
	return 0;
}

static int check_empty(const struct store_dir *dir, struct error *err)
{
	DIR *entries = file_entries(dir->fd);
	const char *name;
	int more = entries ? file_next_entry(entries, &name) : -errno;

	if (entries)
		closedir(entries);
	if (more < 0)
		return error_set(err, more, "cannot read the directory %s: %s", dir->path, strerror(-more));
	if (more == 0)
		return 0;
	error_set(err, -ENOTEMPTY, "%s is not empty", dir->path);
	error_hint(err, "choose a new or an empty directory");
	return -ENOTEMPTY;
}

/* Leaves a directory that holds "unfinished", or says why this one cannot become a store. */
static int claim(const struct store_dir *dir, struct error *err)
{
	if (store_dir_has(dir, SUPERBLOCK_NAME))
		return error_set(err, -EEXIST, "%s is a store already", dir->path);
	if (!store_dir_has(dir, UNFINISHED_NAME)) {
		int result = check_empty(dir, err);
		if (result < 0)
			return result;
	}
	AUTO_CLOSE int fd = file_open_inside(dir->fd, UNFINISHED_NAME, O_WRONLY | O_CREAT, 0600);
	if (fd < 0)
		return error_set(err, fd, "cannot write in the directory %s: %s", dir->path, error_text(fd));
	return 0;
}

static int make_uuid(char out[37])
{
	AUTO_BUF text = BUF_INIT;
	int result = file_read("/proc/sys/kernel/random/uuid", 64, &text);

	if (result < 0)
		return result;
	if (text.len < 36)
		return -EIO;
	memcpy(out, text.data, 36);
	out[36] = '\0';
	return 0;
}

/*
 * Directories and an empty database; what an interrupted attempt left is cleared. Its database may have got another name (lock.c, L4),
 * which stays. Caller holds the store's lock.
 */
static int make_database(const struct store_dir *dir, struct error *err)
{
	char name[DATABASE_NAME_MAX] = DATABASE_NAME, ingest[INGEST_NAME_MAX];
	int result = store_dir_find_database(dir, name);
	AUTO_FREE char *db = store_dir_inside(dir, name);
	AUTO_FREE char *shown = xasprintf("%s/%s", dir->path, name);
	AUTO_FREE char *ballast = store_dir_inside(dir, BALLAST_NAME);
	struct kv_options options = {.shown = shown,
	                             .create = true,
	                             .cache_bytes = 8 << 20,
	                             .memtable_bytes = 8 << 20,
	                             .threads = 1,
	                             .ballast = ballast};
	struct kv *kv;

	if (result < 0 && result != -ENOENT)
		return error_set(err, result, "cannot make the database in %s: %s", dir->path, error_text(result));
	result = store_dir_ingest(dir, name, ingest, err);
	if (result == 0)
		result = store_dir_clear(dir, name, err);
	if (result < 0)
		return result;
	result = kv_open(db, &options, &kv, err);
	if (result < 0)
		return error_default(err, result, "cannot make the database in %s", shown);
	result = kv_sync(kv);
	kv_close(kv);
	if (result == 0 && fsync(dir->fd) < 0)
		result = -errno;
	if (result < 0)
		error_set(err, result, "cannot make the database in %s: %s", shown, error_text(result));
	return result;
}

static int write_superblock(const struct store_dir *dir, const struct store_parameters *parameters, struct error *err)
{
	AUTO_FREE char *name = store_dir_inside(dir, SUPERBLOCK_NAME);
	AUTO_BUF text = BUF_INIT;
	struct superblock superblock = {
		.format = FORMAT_VERSION,
		.created = clock_now().tv_sec,
		.chunk_min = parameters->chunk_min,
		.chunk_average = parameters->chunk_average,
		.chunk_max = parameters->chunk_max,
	};
	int result = make_uuid(superblock.uuid);

	if (result == 0) {
		superblock_encode(&superblock, &text);
		result = file_replace(name, text.data, text.len, 0644);
	}
	if (result < 0)
		error_set(err, result, "cannot write %s/" SUPERBLOCK_NAME ": %s", dir->path, error_text(result));
	return result;
}

/* What an attempt that failed has made, but for the lock. */
static void unmake(const struct store_dir *dir)
{
	char name[DATABASE_NAME_MAX] = DATABASE_NAME, ingest[INGEST_NAME_MAX] = "";
	int ignored = store_dir_find_database(dir, name);

	unlinkat(dir->fd, SUPERBLOCK_NAME, 0);
	ignored = store_dir_ingest(dir, name, ingest, NULL);
	unlinkat(dir->fd, ingest, AT_REMOVEDIR);
	ignored = store_dir_clear(dir, name, NULL);
	unlinkat(dir->fd, name, AT_REMOVEDIR);
	unlinkat(dir->fd, BALLAST_NAME, 0);
	unlinkat(dir->fd, UNFINISHED_NAME, 0);
	(void)ignored;
}

static int make(const struct store_dir *dir, const struct store_parameters *parameters, struct error *err)
{
	int result = fault_point("init-before-database");

	if (result == 0)
		result = make_database(dir, err);
	if (result == 0)
		result = fault_point("init-before-superblock");
	if (result == 0)
		result = write_superblock(dir, parameters, err);
	if (result < 0)
		return result;
	unlinkat(dir->fd, UNFINISHED_NAME, 0);
	AUTO_CLOSE int parent = openat(dir->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return parent < 0 || fsync(parent) < 0 ? -errno : 0;
}

static int make_locked(const struct store_dir *dir, const struct store_parameters *parameters, struct error *err)
{
	struct lock *lock;
	int result = claim(dir, err);

	if (result == 0)
		result = lock_take(dir, NULL, &lock, err);
	if (result < 0)
		return result;
	/* Another init may have finished between our look and our lock. */
	if (store_dir_has(dir, SUPERBLOCK_NAME))
		result = error_set(err, -EEXIST, "%s is a store already", dir->path);
	else
		result = make(dir, parameters, err);
	if (result < 0 && result != -EEXIST) {
		unmake(dir);
		lock_remove(lock);
	} else {
		lock_release(lock);
	}
	return result;
}

/* On a disk of not much more than the reserve nothing could ever be written. */
static int check_disk(const struct store_dir *dir, struct error *err)
{
	struct statvfs disk;

	if (fstatvfs(dir->fd, &disk) < 0)
		return 0;
	uint64_t bytes = (uint64_t)disk.f_blocks * disk.f_frsize, reserve = space_reserve(bytes);
	if (bytes >= 2 * reserve)
		return 0;
	error_set(err, -ENOSPC, "%s: the disk is too small: it holds %llu MiB, and a store keeps %llu MiB of it free", dir->path,
		  (unsigned long long)(bytes >> 20), (unsigned long long)(reserve >> 20));
	error_hint(err, "use a disk of at least %llu MiB", (unsigned long long)(2 * reserve >> 20));
	return -ENOSPC;
}

int store_init(const char *path, const struct store_parameters *parameters, struct error *err)
{
	static const struct store_parameters defaults = {.chunk_min = 16384, .chunk_average = 65536, .chunk_max = 262144};
	struct store_dir dir = STORE_DIR_CLOSED;
	bool made = false;

	if (!parameters)
		parameters = &defaults;
	int result = check_parameters(parameters, err);
	if (result < 0)
		return result;
	made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST) {
		const int code = -errno;
		(void)error_set(err, code, "cannot make the directory %s: %s", path, error_text(code));
		if (code == -ENOENT)
			error_hint_shell(err, "mkdir -p %s makes it, and those above it", path);
		return code;
	}
	result = store_dir_open(path, &dir, err);
	if (result == 0)
		result = check_disk(&dir, err);
	if (result == 0)
		result = make_locked(&dir, parameters, err);
	store_dir_close(&dir);
	if (result < 0 && made)
		rmdir(path);
	return result < 0 ? error_default(err, result, "cannot make a store in %s", path) : 0;
}
