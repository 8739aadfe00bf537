/*
 * Making, finding, opening and closing a store directory.
 *
 * init:  directory -> file "unfinished" -> lock -> db/ and ingest/ -> superblock -> "unfinished" removed
 *
 * Only the superblock makes a directory a store, and it comes last. An init that was killed leaves "unfinished" and no superblock: open
 * refuses it, another init starts over. A directory with other content and without "unfinished" is nobody's to clear: init refuses it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/pool.h"
#include "lib/store/catalog.h"
#include "lib/store/lock.h"

#define UNFINISHED_NAME "unfinished"
#define BALLAST_NAME "ballast"
#define SUPERBLOCK_MAX 65536
#define CACHE_DEFAULT (256ULL << 20)
#define WRITE_BUFFER_DEFAULT (256ULL << 20)
#define MEMTABLES (64ULL << 20)
#define INODE_CACHE_ENTRIES 65536

static char *inside(const char *path, const char *name)
{
	return xasprintf("%s/%s", path, name);
}

static bool exists(const char *path, const char *name)
{
	AUTO_FREE char *full = inside(path, name);
	struct stat st;

	return lstat(full, &st) == 0;
}

/* --- init --- */

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

/* --- open --- */

int store_probe(const char *path, struct superblock *ret_superblock, struct error *err)
{
	AUTO_FREE char *name = inside(path, SUPERBLOCK_NAME);
	AUTO_BUF text = BUF_INIT;
	struct stat st;

	if (stat(path, &st) < 0) {
		int result = error_set(err, -errno, "cannot open the store %s: %s", path, strerror(errno));
		if (result == -ENOENT)
			error_hint(err, "make one with: corpusfs init %s", path);
		return result;
	}
	int result = file_read(name, SUPERBLOCK_MAX, &text);
	if (result == -ENOENT || result == -ENOTDIR) {
		bool unfinished = exists(path, UNFINISHED_NAME);
		error_set(err, -EMEDIUMTYPE, unfinished ? "%s is not a store: its making was interrupted" : "%s is not a store", path);
		error_hint(err, "make one with: corpusfs init %s", path);
		return -EMEDIUMTYPE;
	}
	if (result < 0)
		return error_set(err, result == -EFBIG ? -EBADMSG : result, "cannot read %s: %s", name, strerror(-result));
	return superblock_decode(name, text.data, text.len, ret_superblock, err);
}

static int open_database(struct store *store, uint64_t cache_bytes, unsigned threads, struct error *err)
{
	AUTO_FREE char *db = inside(store->path, "db");
	AUTO_FREE char *ballast = inside(store->path, BALLAST_NAME);
	struct kv_options options = {
		.cache_bytes = cache_bytes, .memtable_bytes = MEMTABLES, .threads = threads, .ballast = ballast};

	/* RocksDB would put files of its own next to what is left. */
	if (!exists(db, "CURRENT")) {
		error_set(err, -EBADMSG, "the store %s is damaged: its database has no file CURRENT", store->path);
		error_hint(err, "restore the directory db from a backup; nothing was changed");
		return -EBADMSG;
	}
	int result = kv_open(db, &options, &store->kv, err);
	if (result < 0)
		error_default(err, result, "cannot open the database of %s", store->path);
	return result;
}

static int open_layers(struct store *store, const struct store_options *options, struct error *err)
{
	AUTO_FREE char *ingest = inside(store->path, "ingest");
	uint64_t cache = options->cache_bytes ? options->cache_bytes : CACHE_DEFAULT;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned threads = options->threads ? options->threads : (unsigned)MAX(cpus, 1L);
	struct chunks_options chunk_options = {
		.min = store->superblock.chunk_min,
		.average = store->superblock.chunk_average,
		.max = store->superblock.chunk_max,
		.ingest_dir = ingest,
		.cache_bytes = cache / 2,
	};
	struct tree_options tree_options = {
		.space_path = store->path,
		.write_buffer_bytes = options->write_buffer_bytes ? options->write_buffer_bytes : WRITE_BUFFER_DEFAULT,
		.inode_cache_entries = INODE_CACHE_ENTRIES,
		.idle_ms = 200,
		.commit_ms = 5000,
	};
	int result = open_database(store, cache - cache / 2, threads, err);

	if (result < 0)
		return result;
	if (mkdir(ingest, 0700) < 0 && errno != EEXIST)
		return error_set(err, -errno, "cannot make %s: %s", ingest, strerror(errno));
	store->pool = pool_new(threads - 1);
	result = chunks_open(store->kv, store->pool, &chunk_options, &store->chunks, err);
	if (result < 0)
		return error_default(err, result, "cannot open the chunks of %s", store->path);
	result = tree_new(store->kv, store->chunks, store->pool, &tree_options, &store->tree);
	if (result < 0)
		return error_default(err, result, "cannot open %s", store->path);
	result = catalog_load(store, err);
	if (result < 0)
		return result;
	result = gc_state_load(store);
	return result < 0 ? error_set(err, result, "the collector's state cannot be read: %s", strerror(-result)) : 0;
}

/* Files that were unlinked while open when the store was last closed or killed. A full disk must not keep the store shut: they stay
 * noted, and the next open tries again. */
static void reap_orphans(struct store *store)
{
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		struct view *view;
		if (catalog_has_orphans(store->kv, dataset->record.id) <= 0 || views_head(store, dataset, &view) < 0)
			continue;
		int ignored = view_reap_orphans(view);
		(void)ignored;
		store_view_put(store, view);
	}
}

static int close_layers(struct store *store)
{
	int result = store->tree ? tree_sync(store->tree) : 0;

	views_close_all(store);
	if (store->tree)
		tree_free(store->tree);
	if (store->chunks)
		chunks_close(store->chunks);
	if (store->kv)
		kv_close(store->kv);
	pool_free(store->pool);
	catalog_clear(store);
	lock_release(store->lock_fd);
	pthread_cond_destroy(&store->unused);
	mutex_clear(&store->catalog_lock);
	mutex_clear(&store->change_lock);
	free(store->path);
	free(store);
	return result;
}

static int only_readable(const char *path, struct error *err)
{
	error_set(err, -EPROTONOSUPPORT, "%s: the store has features that this program would lose by writing to it", path);
	error_hint(err, "nothing was changed; use the newer version of corpusfs that wrote it");
	return -EPROTONOSUPPORT;
}

int store_open(const char *path, const struct store_options *options, struct store **ret_store, struct error *err)
{
	static const struct store_options defaults = {0};
	struct superblock superblock;
	int lock_fd;
	int result = store_probe(path, &superblock, err);

	if (result == 0 && !superblock_writable(&superblock))
		result = only_readable(path, err);
	if (result == 0)
		result = lock_take(path, &lock_fd, err);
	if (result < 0)
		return result;

	struct store *store = xcalloc(1, sizeof(*store));
	store->path = realpath(path, NULL);
	if (!store->path)
		store->path = xstrdup(path);
	store->superblock = superblock;
	store->lock_fd = lock_fd;
	mutex_init(&store->change_lock, LOCK_CHANGE);
	mutex_init(&store->catalog_lock, LOCK_CATALOG);
	pthread_cond_init(&store->unused, NULL);
	result = open_layers(store, options ? options : &defaults, err);
	if (result < 0) {
		close_layers(store);
		return result;
	}
	reap_orphans(store);
	*ret_store = store;
	return 0;
}

int store_close(struct store *store)
{
	return close_layers(store);
}

pid_t store_locked_by(const char *path)
{
	return lock_owner(path);
}

/* --- accessors --- */

const char *store_path(const struct store *store)
{
	return store->path;
}

const struct superblock *store_superblock(const struct store *store)
{
	return &store->superblock;
}

struct kv *store_kv(struct store *store)
{
	return store->kv;
}

struct chunks *store_chunks(struct store *store)
{
	return store->chunks;
}

struct tree *store_tree(struct store *store)
{
	return store->tree;
}

struct pool *store_pool(struct store *store)
{
	return store->pool;
}

int store_sync(struct store *store)
{
	return tree_sync(store->tree);
}

void store_set_hooks(struct store *store, const struct store_hooks *hooks)
{
	mutex_take(&store->catalog_lock);
	store->hooks = *hooks;
	mutex_give(&store->catalog_lock);
}

struct store_hooks store_get_hooks(struct store *store)
{
	mutex_take(&store->catalog_lock);
	struct store_hooks hooks = store->hooks;
	mutex_give(&store->catalog_lock);
	return hooks;
}

void store_changed(struct store *store, enum store_event event, uint32_t dataset, const char *name)
{
	struct store_hooks hooks = store_get_hooks(store);

	if (hooks.changed)
		hooks.changed(hooks.arg, event, dataset, name);
}

bool store_busy(struct store *store, uint32_t view)
{
	struct store_hooks hooks = store_get_hooks(store);

	return hooks.busy && hooks.busy(hooks.arg, view);
}

void store_entry_changed(struct store *store, uint32_t view, uint64_t dir, const char *name)
{
	struct store_hooks hooks = store_get_hooks(store);

	if (hooks.entry_changed)
		hooks.entry_changed(hooks.arg, view, dir, name);
}
