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
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/format/record.h"
#include "lib/store/layout.h"
#include "lib/store/lock.h"
#include "lib/store/store.h"

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

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	bool empty = dir != NULL;

	if (!dir)
		return false;
	for (struct dirent *entry = readdir(dir); entry && empty; entry = readdir(dir))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(dir);
	return empty;
}

/* Leaves a directory that holds "unfinished", or says why this one cannot become a store. `ret_made` is set even then. */
static int claim_directory(const char *path, bool *ret_made, struct error *err)
{
	AUTO_FREE char *unfinished = inside(path, UNFINISHED_NAME);

	*ret_made = mkdir(path, 0700) == 0;
	if (!*ret_made && errno != EEXIST)
		return error_set(err, -errno, "cannot make the directory %s: %s", path, strerror(errno));
	if (exists(path, SUPERBLOCK_NAME)) {
		error_set(err, -EEXIST, "%s is a store already", path);
		return -EEXIST;
	}
	if (!exists(path, UNFINISHED_NAME)) {
		DIR *dir = opendir(path);
		if (!dir)
			return error_set(err, -errno, "cannot read the directory %s: %s", path, strerror(errno));
		closedir(dir);
		if (!is_empty(path)) {
			error_set(err, -ENOTEMPTY, "%s is not empty", path);
			error_hint(err, "choose a new or an empty directory");
			return -ENOTEMPTY;
		}
	}
	AUTO_CLOSE int fd = open(unfinished, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, -errno, "cannot write in the directory %s: %s", path, strerror(errno));
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

static int make_empty_dir(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return file_empty_dir(path);
}

/* Directories and an empty database; what an interrupted attempt left is cleared. Caller holds the store's lock. */
static int make_database(const char *path, struct error *err)
{
	AUTO_FREE char *db = inside(path, "db");
	AUTO_FREE char *ingest = inside(path, "ingest");
	AUTO_FREE char *ballast = inside(path, BALLAST_NAME);
	struct kv_options options = {
		.create = true, .cache_bytes = 8 << 20, .memtable_bytes = 8 << 20, .threads = 1, .ballast = ballast};
	struct kv *kv;
	int result = make_empty_dir(ingest);

	if (result == 0)
		result = make_empty_dir(db);
	if (result < 0)
		return error_set(err, result, "cannot make the directories of %s: %s", path, strerror(-result));
	result = kv_open(db, &options, &kv, err);
	if (result < 0)
		return error_default(err, result, "cannot make the database in %s", db);
	result = kv_sync(kv);
	kv_close(kv);
	if (result == 0)
		result = file_sync_dir(path);
	if (result < 0)
		error_set(err, result, "cannot make the database in %s: %s", db, strerror(-result));
	return result;
}

static int write_superblock(const char *path, const struct store_parameters *parameters, struct error *err)
{
	AUTO_FREE char *name = inside(path, SUPERBLOCK_NAME);
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
		error_set(err, result, "cannot write %s: %s", name, strerror(-result));
	return result;
}

/* What an attempt that failed has made. The lock's file is ours until it is closed, and "unfinished" goes last. */
static void unmake(const char *path)
{
	static const char *const directories[] = {"db", "ingest"}, *const files[] = {BALLAST_NAME, LOCK_NAME, UNFINISHED_NAME};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		AUTO_FREE char *directory = inside(path, directories[i]);
		if (file_empty_dir(directory) == 0)
			rmdir(directory);
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTO_FREE char *file = inside(path, files[i]);
		unlink(file);
	}
}

int store_init(const char *path, const struct store_parameters *parameters, struct error *err)
{
	static const struct store_parameters defaults = {.chunk_min = 16384, .chunk_average = 65536, .chunk_max = 262144};
	AUTO_FREE char *unfinished = inside(path, UNFINISHED_NAME);
	bool made = false;
	int lock_fd = -1;

	if (!parameters)
		parameters = &defaults;
	int result = check_parameters(parameters, err);
	if (result == 0)
		result = claim_directory(path, &made, err);
	if (result == 0)
		result = lock_take(path, &lock_fd, err);
	/* Another init may have finished between our look and our lock. */
	if (result == 0 && exists(path, SUPERBLOCK_NAME)) {
		lock_release(lock_fd);
		return error_set(err, -EEXIST, "%s is a store already", path);
	}
	if (result < 0) {
		if (made)
			rmdir(path);
		return result;
	}

	result = fault_point("init-before-database");
	if (result == 0)
		result = make_database(path, err);
	if (result == 0)
		result = fault_point("init-before-superblock");
	if (result == 0)
		result = write_superblock(path, parameters, err);
	if (result == 0) {
		unlink(unfinished);
		AUTO_FREE char *parent = inside(path, "..");
		result = file_sync_dir(parent);
	} else {
		unmake(path);
		if (made)
			rmdir(path);
	}
	lock_release(lock_fd);
	return result < 0 ? error_default(err, result, "cannot make a store in %s", path) : 0;
}
