/* Finding, opening and closing a store. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/base/memory_limit.h"
#include "lib/base/pool.h"
#include "lib/store/catalog.h"
#include "lib/store/damage.h"
#include "lib/store/lock.h"
#include "lib/store/lock_file.h"
#include "lib/store/log_sync.h"
#include "lib/store/mend_keep.h"

/* What there is where memory is plenty, and where there is next to none (lib/base/memory_limit.h). */
#define CACHE_USUAL (256ULL << 20)
#define CACHE_LEAST (16ULL << 20)
#define WRITE_BUFFER_USUAL (256ULL << 20)
#define WRITE_BUFFER_LEAST (16ULL << 20)
#define MEMTABLES_USUAL (64ULL << 20)
#define MEMTABLES_LEAST (8ULL << 20)
#define INODES_USUAL (64ULL << 20)
#define INODES_LEAST (2ULL << 20)
#define INODE_BYTES 1024
#define INODE_EXTENTS 16

void store_choose_budgets(struct store_options *options)
{
	if (options->cache_bytes == 0)
		options->cache_bytes = memory_budget(CACHE_USUAL, CACHE_LEAST);
	if (options->write_buffer_bytes == 0)
		options->write_buffer_bytes = memory_budget(WRITE_BUFFER_USUAL, WRITE_BUFFER_LEAST);
}

int store_probe(const char *path, struct superblock *ret_superblock, struct error *err)
{
	struct store_dir dir = STORE_DIR_CLOSED;
	int result = store_dir_open_store(path, &dir, ret_superblock, err);

	store_dir_close(&dir);
	return result;
}

static int check_lock(void *arg, bool now)
{
	return lock_check(arg, now);
}

static int database_damaged(const struct store *store, const char *what, const char *hint, struct error *err)
{
	error_set(err, -EBADMSG, "the store %s is damaged: %s", store->dir.path, what);
	error_hint(err, "nothing was changed; %s", hint);
	return -EBADMSG;
}

static int find_database(struct store *store, char ret_name[DATABASE_NAME_MAX], struct error *err)
{
	int result = store_dir_find_database(&store->dir, ret_name);

	if (result == -EEXIST)
		return database_damaged(store, "it has several databases, directories db and db.WORD", "move all but one of them away", err);
	if (result < 0)
		return database_damaged(store, "it has no database, the directory db", DATABASE_HINT_ELSEWHERE, err);
	/* If we were stopped for long since we took the lock, the name may be another owner's. Who takes the lock from now on changes it. */
	result = store->lock ? fault_point("store-before-open") : 0;
	if (result == 0 && store->lock)
		result = lock_check(store->lock, true);
	if (result == -EROFS)
		return error_set(err, result, "another process took the store %s while it was being opened", store->dir.path);
	return result < 0 ? error_set(err, result, "cannot open the store %s: %s", store->dir.path, error_text(result)) : 0;
}

static int open_database(struct store *store, const char *name, uint64_t cache_bytes, unsigned threads, bool took_over, struct error *err)
{
	AUTO_FREE char *db = store_dir_inside(&store->dir, name);
	AUTO_FREE char *shown = xasprintf("%s/%s", store->dir.path, name);
	AUTO_FREE char *ballast = store_dir_inside(&store->dir, BALLAST_NAME);
	AUTO_FREE char *damage_mark = store_dir_inside(&store->dir, DAMAGE_MARK_NAME);
	struct kv_options options = {
		.shown = shown,
		.read_only = store->read_only,
		.accept = store->accept,
		.cache_bytes = cache_bytes,
		.memtable_bytes = memory_budget(MEMTABLES_USUAL, MEMTABLES_LEAST),
		.threads = threads,
		.check = store->lock ? check_lock : NULL,
		.check_arg = store->lock,
		.ballast = ballast,
		.damage_mark = damage_mark,
		.took_over = took_over,
	};

	int result = kv_open(db, &options, &store->kv, err);
	if (result == -ENOENT)
		return database_damaged(store, "its database is empty", DATABASE_HINT_ELSEWHERE, err);
	if (result < 0)
		error_default(err, result, "cannot open the database of %s", store->dir.path);
	return result;
}

static int open_layers(struct store *store, const struct store_options *options, struct error *err)
{
	const uint64_t cache = options->cache_bytes, inodes = memory_budget(INODES_USUAL, INODES_LEAST) / INODE_BYTES;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned threads = options->threads ? options->threads : (unsigned)MAX(cpus, 1L);
	char database[DATABASE_NAME_MAX], ingest[INGEST_NAME_MAX] = "";
	int result = find_database(store, database, err);

	if (result == 0)
		result = open_database(store, database, cache - cache / 2, threads, options->heritage.dead != NULL, err);
	if (result == 0 && !store->read_only)
		result = store_dir_ingest(&store->dir, database, ingest, err);
	if (result < 0)
		return result;
	AUTO_FREE char *ingest_path = store_dir_inside(&store->dir, ingest);
	AUTO_FREE char *space = store_dir_inside(&store->dir, ".");
	struct chunks_options chunk_options = {
		.min = store->superblock.chunk_min,
		.average = store->superblock.chunk_average,
		.max = store->superblock.chunk_max,
		.ingest_dir = ingest_path,
		.cache_bytes = cache / 2,
	};
	struct tree_options tree_options = {
		.space_path = space,
		.write_buffer_bytes = options->write_buffer_bytes,
		.inode_cache_entries = inodes,
		.extent_cache_entries = inodes * INODE_EXTENTS,
		.idle_ms = 200,
		.commit_ms = STORE_COMMIT_MS,
		.damaged = options->met_damage ? store_tell_damage : NULL,
		.damaged_arg = store,
		.journal = options->heritage.journal,
		.journal_bytes = options->heritage.journal_bytes,
	};

	store->met_damage = options->met_damage;
	store->met_damage_arg = options->notice_arg;
	store->pool = pool_new(threads - 1);
	result = chunks_open(store->kv, store->pool, &chunk_options, &store->chunks, err);
	if (result < 0)
		return error_default(err, result, "cannot open the chunks of %s", store->dir.path);
	result = tree_new(store->kv, store->chunks, store->pool, &tree_options, &store->tree);
	if (result < 0)
		return error_default(err, result, "cannot open %s", store->dir.path);
	result = catalog_load(store, err);
	if (result < 0)
		return result;
	result = gc_state_load(store);
	if (result < 0)
		return error_set(err, result, "the collector's state cannot be read: %s", error_text(result));
	result = store->read_only ? 0 : log_sync_start(store->kv, &store->log_sync);
	return result < 0 ? error_set(err, result, "no thread could be started: %s", error_text(result)) : 0;
}

/* Files that were unlinked while open when the store was last closed or killed. A full disk must not keep the store shut: they stay
 * noted, and the next open tries again. */
void store_reap_orphans(struct store *store)
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
	int result = views_close_all(store);

	log_sync_stop(store->log_sync);
	if (store->opened && result == 0)
		gc_state_keep(store);
	if (store->tree) {
		int synced = tree_sync(store->tree);
		result = result < 0 ? result : synced;
		tree_free(store->tree);
	}
	if (store->chunks)
		chunks_close(store->chunks);
	if (store->kv)
		kv_close(store->kv);
	pool_free(store->pool);
	catalog_clear(store);
	if (result == 0)
		result = store->failure;
	if (store_lost_to(store))
		result = -EROFS;
	if (store->opened && store->lock)
		lock_set_result(store->lock, result);
	if (store->opened)
		lock_release(store->lock);
	else
		lock_undo(store->lock);
	lock_file_unshare(store->shared_fd, store->opened);
	store_dir_close(&store->dir);
	pthread_cond_destroy(&store->unused);
	mutex_clear(&store->catalog_lock);
	mutex_clear(&store->change_lock);
	free(store);
	return result;
}

/* 0: the directory can be written; -EROFS: nobody can; -EACCES: this user cannot. */
static int writable(const struct store_dir *dir)
{
	int result = faccessat(dir->fd, ".", W_OK, AT_EACCESS) < 0 ? -errno : 0;

	return result == -EROFS || result == -EACCES ? result : 0;
}

bool store_read_only(const struct store *store)
{
	return store->read_only;
}

int store_check_writable(const struct store *store, struct error *err)
{
	if (!store->read_only)
		return 0;
	if (kv_lost(store->kv)) {
		error_set(err, -EROFS, "the store %s is damaged, so it can only be read: %s", store->dir.path, kv_lost(store->kv));
		return -EROFS;
	}
	if (store->writable == -EACCES)
		return error_set(err, -EACCES, "the store %s belongs to somebody else, and you may only read it", store->dir.path);
	if (superblock_writable(&store->superblock))
		return error_set(err, -EROFS, "the store %s is on media that cannot be written", store->dir.path);
	error_set(err, -EROFS, "the store %s has features that this program would lose by writing to it", store->dir.path);
	error_hint(err, "use the newer version of corpusfs that wrote it");
	return -EROFS;
}

int store_begin_change(struct store *store, struct error *err)
{
	int result = store_check_writable(store, err);

	if (result == 0)
		mutex_take(&store->change_lock);
	return result;
}

const char *store_lost_to(struct store *store)
{
	return store->lock ? lock_lost_to(store->lock) : NULL;
}

static int lock(struct store *store, const struct store_options *options, struct error *err)
{
	const struct lock_options lock_options = {.notice = options->notice,
	                                          .lost = options->lost,
	                                          .arg = options->notice_arg,
	                                          .dead = options->heritage.dead,
	                                          .locked_fd = options->heritage.lock_fd};

	if (store->read_only)
		return lock_file_share(&store->dir, options->heritage.dead ? options->heritage.lock_fd : -1, &store->shared_fd, err);
	return lock_take(&store->dir, &lock_options, &store->lock, err);
}

/* Who goes on for another does so with the same store, wherever it has been moved meanwhile. */
static int open_dir(const char *path, const struct store_heritage *heritage, struct store_dir *ret_dir, struct superblock *ret_superblock,
                    struct error *err)
{
	AUTO_FREE char *place = heritage->dead && heritage->lock_fd >= 0 ? lock_file_place(heritage->lock_fd) : NULL;

	return store_dir_open_store(place ? place : path, ret_dir, ret_superblock, err);
}

static int open_as(const char *path, const struct store_options *options, unsigned accept, struct store **ret_store, struct error *err)
{
	struct store_dir dir = STORE_DIR_CLOSED;
	struct superblock superblock;
	int result = open_dir(path, &options->heritage, &dir, &superblock, err);

	if (result < 0)
		return result;

	struct store *store = xcalloc(1, sizeof(*store));
	store->dir = dir;
	store->superblock = superblock;
	store->shared_fd = -1;
	store->writable = writable(&store->dir);
	store->read_only = store->writable < 0 || !superblock_writable(&superblock) || accept;
	store->accept = accept;
	mutex_init(&store->change_lock, LOCK_CHANGE);
	mutex_init(&store->catalog_lock, LOCK_CATALOG);
	pthread_cond_init(&store->unused, NULL);
	result = lock(store, options, err);
	if (result == 0)
		result = open_layers(store, options, err);
	if (result < 0) {
		close_layers(store);
		return result;
	}
	store->opened = true;
	if (!store->read_only)
		store_dir_keep_superblock(&store->dir, &store->superblock);
	if (!store->read_only && !options->heritage.dead)
		store_reap_orphans(store);
	if (!store->read_only && options->notice && mend_is_unfinished(&store->dir))
		options->notice(options->notice_arg, "warning: a repair of the store was interrupted; corpusfs repair says what is to be done");
	*ret_store = store;
	return 0;
}

int store_open(const char *path, const struct store_options *options, struct store **ret_store, struct error *err)
{
	struct store_options all = options ? *options : (struct store_options){0};

	store_choose_budgets(&all);
	options = &all;
	int result = open_as(path, options, 0, ret_store, err);
	if (result != -EBADMSG || !options->damaged)
		return result;
	if (err)
		*err = (struct error){0};
	result = open_as(path, options, KV_ACCEPT_LOG | KV_ACCEPT_CHUNKS | (options->salvage ? KV_ACCEPT_METADATA : 0), ret_store, err);
	if (result == 0 && options->notice && kv_lost((*ret_store)->kv)) {
		AUTO_FREE char *text = xasprintf("warning: the store is damaged, so it can only be read: %s", kv_lost((*ret_store)->kv));
		options->notice(options->notice_arg, text);
	}
	return result;
}

const char *store_close_failure(int result)
{
	return result == -EROFS ? "another process has taken the store, and what was not on disk by then is lost" : error_text(result);
}

int store_close(struct store *store)
{
	return close_layers(store);
}

void store_note_failure(struct store *store, int result)
{
	store->failure = store->failure ? store->failure : result;
}

int store_last_close(const char *path)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : lock_file_result(dir);
}

pid_t store_locked_by(const char *path)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? 0 : lock_file_owner(dir);
}

/* --- going on where a process has died --- */

static int find_view(void *arg, uint32_t number, struct view **ret_view)
{
	return store_view_by_number(arg, number, ret_view);
}

static void put_view(void *arg, struct view *view)
{
	store_view_put(arg, view);
}

size_t store_journal_bytes(const struct store_options *options)
{
	return tree_journal_bytes(options->write_buffer_bytes);
}

int store_replay(struct store *store, replay_waits_fn waits, void *arg, struct replayed *ret_replayed)
{
	const struct replay_views views = {.find = find_view, .put = put_view, .arg = store, .waits = waits, .waits_arg = arg};

	return tree_replay(store->tree, &views, ret_replayed);
}

void store_mark_lost(struct store *store, const struct replayed *replayed)
{
	tree_mark_lost(&(struct replay_views){.find = find_view, .put = put_view, .arg = store}, replayed);
}

/* --- accessors --- */

int store_lock_fd(const struct store *store)
{
	return store->lock ? lock_fd(store->lock) : store->shared_fd;
}

const char *store_path(const struct store *store)
{
	return store->dir.path;
}

int store_dir_fd(const struct store *store)
{
	return store->dir.fd;
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

void store_replaced(struct store *store, uint32_t dataset, uint32_t old_view)
{
	struct store_hooks hooks = store_get_hooks(store);

	if (hooks.replaced)
		hooks.replaced(hooks.arg, dataset, old_view);
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
