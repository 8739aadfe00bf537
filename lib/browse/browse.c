#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

#include "lib/backup/backup_find.h"
#include "lib/base/clock.h"
#include "lib/repository/locks.h"

#define TOLD_MAX 1000
#define BRING_THREADS 5 /* and who asks for it */
#define LOOK_MS 10000       /* from one look for new backups to the next, if nobody calls */
#define LOOK_PAUSE_MS 1000 /* at least */

/* --- what is wrong --- */

static bool is_new(struct browse *browse, const struct blob_id *id)
{
	struct told *told;
	bool fresh;

	pthread_mutex_lock(&browse->mutex);
	HASH_FIND(hh, browse->told, id, sizeof(*id), told);
	fresh = !told && HASH_COUNT(browse->told) < TOLD_MAX;
	if (fresh) {
		told = xcalloc(1, sizeof(*told));
		told->id = *id;
		HASH_ADD(hh, browse->told, id, sizeof(told->id), told);
	}
	pthread_mutex_unlock(&browse->mutex);
	return fresh;
}

/* Of a blob that cannot be had. What happened is for the log; who reads gets -EIO. */
int browse_failed(struct browse *browse, const struct blob_id *id, const char *of, int code)
{
	char text[BLOB_ID_TEXT];
	AUTO_FREE char *line = NULL;

	if (code == -ENOMEM || code == -ECANCELED)
		return code;
	if (!is_new(browse, id))
		return -EIO;
	blob_id_text(id, text);
	line = xasprintf("blob=%s of=\"%s\" what=\"%s\"", text, of, code == -ENOENT ? "no index names it" : code == -EBADMSG ? "damaged" : error_text(code));
	browse->options.problem(browse->options.arg, line);
	return -EIO;
}

/* Once: somebody may remove what is looked at, and then it is missing, and said to be. */
static void watch_lock(struct browse *browse)
{
	bool is_news;

	if (!repository_lock_lost(browse->lock))
		return;
	pthread_mutex_lock(&browse->mutex);
	is_news = !browse->told_lost;
	browse->told_lost = true;
	pthread_mutex_unlock(&browse->mutex);
	if (is_news)
		browse->options.problem(browse->options.arg, "what=\"the lock of the repository is lost: what others prune is missing here\"");
}

/* --- the index --- */

static void load_index(struct browse *browse)
{
	struct error err = {0};
	const int r = repository_load_index(browse->repository, true, &err);
	bool is_news;

	pthread_mutex_lock(&browse->mutex);
	is_news = r < 0 && !browse->index_failed;
	browse->has_index = r == 0;
	browse->index_failed = r < 0;
	pthread_cond_broadcast(&browse->loaded);
	pthread_mutex_unlock(&browse->mutex);
	if (is_news)
		browse->options.problem(browse->options.arg, err.text);
}

int browse_wait_index(struct browse *browse, bool may_wait)
{
	int r;

	pthread_mutex_lock(&browse->mutex);
	while (may_wait && !browse->has_index && !browse->index_failed)
		pthread_cond_wait(&browse->loaded, &browse->mutex);
	r = browse->has_index ? 0 : may_wait ? -EIO : -EAGAIN;
	pthread_mutex_unlock(&browse->mutex);
	return r;
}

/* --- what comes later --- */

void browse_look_again(struct browse *browse)
{
	pthread_mutex_lock(&browse->mutex);
	browse->look_again = true;
	pthread_cond_signal(&browse->called);
	pthread_mutex_unlock(&browse->mutex);
}

/* Until the time is up or, if `calls`, somebody calls. False: it ends. */
static bool wait_call(struct browse *browse, uint64_t ms, bool calls)
{
	const struct timespec until = clock_after_ms(ms);
	bool goes_on;

	pthread_mutex_lock(&browse->mutex);
	while (!browse->ends && !(calls && browse->look_again))
		if (pthread_cond_clockwait(&browse->called, &browse->mutex, CLOCK_MONOTONIC, &until) != 0)
			break;
	if (calls)
		browse->look_again = false;
	goes_on = !browse->ends;
	pthread_mutex_unlock(&browse->mutex);
	return goes_on;
}

/* What cannot be read is tried again with the next look. */
static void look_for_new(struct browse *browse)
{
	struct snapshot_files fresh = {0};
	struct object_names names = {0};
	struct snapshot_file snapshot;
	char name[BLOB_ID_TEXT];

	if (repository_list(browse->repository, OBJECT_SNAPSHOT, &names, NULL) == 0)
		for (size_t i = 0; i < names.count; i++) {
			blob_id_text(&names.items[i], name);
			if (!browse_list_has(browse->list, name) && snapshot_file_read(browse->repository, name, &snapshot, NULL) == 0)
				array_add(&fresh, snapshot);
		}
	/* In this order, so that the index names all that the backups do. */
	if (fresh.count > 0 && blob_source_refresh(browse->place, NULL) == 0)
		browse_list_add(browse->list, &fresh);
	snapshot_files_clear(&fresh);
	array_clear(&names);
}

static void *keep_up(void *arg)
{
	struct browse *browse = arg;

	if (browse->options.disk)
		disk_cache_load(browse->options.disk);
	load_index(browse);
	while (!browse->has_index && wait_call(browse, LOOK_PAUSE_MS, false))
		load_index(browse);
	while (!browse->single && wait_call(browse, LOOK_MS, true)) {
		look_for_new(browse);
		if (!wait_call(browse, LOOK_PAUSE_MS, false))
			break;
	}
	return NULL;
}

/* --- what the caches hold --- */

struct buf *browse_blob_new(const void *data, size_t len, size_t *ret_cost)
{
	struct buf *plain = xcalloc(1, sizeof(*plain));

	if (len > 0)
		buf_add(plain, data, len);
	*ret_cost = sizeof(*plain) + len;
	return plain;
}

static void free_blob(void *value)
{
	buf_clear(value);
	free(value);
}

static int make_blob_by(struct browse *browse, browse_get_fn get, const struct blob_id *id, void **ret_value, size_t *ret_cost)
{
	struct buf *plain = browse_blob_new(NULL, 0, ret_cost);
	int r = get(browse->source, id, false, plain);

	if (r < 0) {
		free_blob(plain);
		return r;
	}
	*ret_value = plain;
	*ret_cost += plain->len;
	return 0;
}

static int make_dir_by(struct browse *browse, browse_get_fn get, const struct blob_id *id, void **ret_value, size_t *ret_cost)
{
	AUTO_BUF json = BUF_INIT;
	struct browse_dir *dir;
	int r = get(browse->source, id, true, &json);

	if (r == 0)
		r = browse_dir_new((char *)json.data, json.len, &dir, ret_cost);
	if (r == 0)
		*ret_value = dir;
	return r;
}

static int make_pieces_by(struct browse *browse, browse_get_fn get, const struct blob_id *id, void **ret_value, size_t *ret_cost)
{
	struct browse_pieces *pieces;
	int r = browse_pieces_new(browse->source, get, id, &pieces, ret_cost);

	if (r == 0)
		*ret_value = pieces;
	return r;
}

static int make_part_by(struct browse *browse, browse_get_fn get, const struct blob_id *id, void **ret_value, size_t *ret_cost)
{
	AUTO_BUF piece = BUF_INIT;
	struct browse_dir *dir;
	int r = get(browse->source, id, false, &piece);

	if (r == 0)
		r = browse_piece_new(piece.data, piece.len, &dir, ret_cost);
	if (r == 0)
		*ret_value = dir;
	return r;
}

/* Who waited is not told to wait. */
static int no_again(int result)
{
	return result == -EAGAIN ? -EIO : result;
}

/* Each kind is made in two ways: by who waits for the place, and by who does not. */
#define MAKE(what)                                                                                                          \
	static int make_##what(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost)                     \
	{                                                                                                                   \
		struct browse *browse = arg;                                                                                \
                                                                                                                            \
		watch_lock(browse);                                                                                         \
		return no_again(make_##what##_by(browse, browse->source->get, id, ret_value, ret_cost));                    \
	}                                                                                                                   \
	static int make_##what##_quickly(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost)           \
	{                                                                                                                   \
		struct browse *browse = arg;                                                                                \
                                                                                                                            \
		return browse->source->find ? make_##what##_by(browse, browse->source->find, id, ret_value, ret_cost) : -EAGAIN; \
	}
MAKE(blob)
MAKE(dir)
MAKE(pieces)
MAKE(part)

static void free_dir(void *value)
{
	browse_dir_free(value);
}

static void free_pieces(void *value)
{
	browse_pieces_free(value);
}

int browse_dir_get(struct browse *browse, const struct blob_id *tree, bool may_wait, struct in_dir *ret_dir)
{
	struct in_dir in = {.cache = browse->dirs, .blob = *tree, .is_last = true};
	int r = shared_cache_find(browse->dirs, tree, &in.cached);

	if (r == -EAGAIN && may_wait) {
		r = browse_wait_index(browse, true);
		if (r == 0)
			r = shared_cache_get(browse->dirs, tree, &in.cached);
	}
	if (r < 0)
		return r;
	in.dir = cached_value(in.cached);
	*ret_dir = in;
	return 0;
}

int browse_dir_use(struct browse *browse, const struct blob_id *tree, bool may_wait, struct in_dir *ret_dir)
{
	int r = browse_dir_get(browse, tree, may_wait, ret_dir);

	/* Of the index, who loads it tells. */
	if (r == 0 || r == -EAGAIN || (r == -EIO && browse_wait_index(browse, false) < 0))
		return r;
	return browse_failed(browse, tree, "a directory", r);
}

void browse_dir_done(struct in_dir *dir)
{
	shared_cache_put(dir->cache, dir->cached);
}

/* --- opening --- */

/* A backup whose file is damaged is not shown, and what is called the latest may be another one: that is said. */
static void tell_unread(struct browse *browse, size_t read)
{
	struct object_names names = {0};
	AUTO_FREE char *text = NULL;

	if (repository_list(browse->repository, OBJECT_SNAPSHOT, &names, NULL) == 0 && names.count > read) {
		text = xasprintf("what=\"%zu of %zu backups are not shown: their descriptions are damaged\"", names.count - read, names.count);
		browse->options.problem(browse->options.arg, text);
	}
	array_clear(&names);
}

static int list_backups(struct browse *browse, struct error *err)
{
	struct snapshot_files snapshots = {0};
	struct snapshot_file only;
	int r;

	if (!browse->options.backup) {
		r = snapshot_files_read(browse->repository, true, &snapshots, err);
		if (r == 0)
			tell_unread(browse, snapshots.count);
	} else {
		r = backup_find(browse->repository, browse->options.backup, &only, NULL, err);
		if (r == 0)
			array_add(&snapshots, only);
	}
	if (r == 0)
		browse_list_add(browse->list, &snapshots);
	browse->single = browse->options.backup;
	browse->is_below = browse->options.only_dataset;
	return r;
}

int browse_open(const struct browse_options *options, struct browse **ret_browse, struct error *err)
{
	struct browse *browse = xcalloc(1, sizeof(*browse));
	const struct shared_cache_kind blobs = {make_blob, make_blob_quickly, free_blob, browse},
	                               dirs = {make_dir, make_dir_quickly, free_dir, browse},
	                               pieces = {make_pieces, make_pieces_quickly, free_pieces, browse},
	                               parts = {make_part, make_part_quickly, free_dir, browse};
	int r;

	browse->options = *options;
	browse->repository = options->repository;
	pthread_mutex_init(&browse->mutex, NULL);
	pthread_cond_init(&browse->loaded, NULL);
	pthread_cond_init(&browse->called, NULL);
	browse->list = browse_list_new();
	browse->place = blob_source_repository(browse->repository);
	browse->source = options->disk ? blob_source_cached(browse->place, options->disk) : browse->place;
	browse->blobs = shared_cache_new(&blobs, options->cache_bytes);
	browse->dirs = shared_cache_new(&dirs, options->cache_bytes / 2);
	browse->pieces = shared_cache_new(&pieces, options->cache_bytes / 8);
	browse->parts = shared_cache_new(&parts, options->cache_bytes / 2 - options->cache_bytes / 8);
	browse->nodes = browse_nodes_new();
	browse->pool = options->disk ? pool_new(BRING_THREADS) : NULL;
	r = repository_lock_take_to_read(browse->repository, &browse->lock, err);
	/* In this order, so that the index names all that the backups do. */
	if (r == 0)
		r = list_backups(browse, err);
	if (r == 0) {
		r = -pthread_create(&browse->loader, NULL, keep_up, browse);
		browse->loads = r == 0;
		if (r < 0)
			(void)error_set(err, r, "no thread could be started: %s", strerror(-r));
	}
	if (r < 0) {
		browse_close(browse);
		return r;
	}
	*ret_browse = browse;
	return 0;
}

void browse_stop(struct browse *browse)
{
	if (!browse)
		return;
	pthread_mutex_lock(&browse->mutex);
	browse->ends = true;
	pthread_cond_signal(&browse->called);
	pthread_mutex_unlock(&browse->mutex);
	if (browse->loads)
		pthread_join(browse->loader, NULL);
	browse->loads = false;
}

void browse_close(struct browse *browse)
{
	struct told *told, *next;

	if (!browse)
		return;
	browse_stop(browse);
	HASH_ITER (hh, browse->told, told, next) {
		HASH_DEL(browse->told, told);
		free(told);
	}
	browse_followed_clear(&browse->followed);
	shared_cache_put(browse->dirs, browse->in_root);
	browse_nodes_free(browse->nodes);
	pool_free(browse->pool);
	shared_cache_free(browse->dirs);
	shared_cache_free(browse->pieces);
	shared_cache_free(browse->parts);
	shared_cache_free(browse->blobs);
	if (browse->source != browse->place)
		blob_source_free(browse->source);
	blob_source_free(browse->place);
	browse_list_free(browse->list);
	repository_lock_release(browse->lock);
	repository_close(browse->repository);
	pthread_cond_destroy(&browse->loaded);
	pthread_cond_destroy(&browse->called);
	pthread_mutex_destroy(&browse->mutex);
	free(browse);
}

struct repository *browse_repository_by(const struct browse *browse, struct objects *objects)
{
	return repository_by(browse->repository, objects);
}

void browse_followed_clear(struct browse_followed *followed)
{
	free(followed->name);
	free(followed->problem);
	*followed = (struct browse_followed){0};
}

void browse_note(struct browse *browse, struct browse_followed *followed)
{
	struct browse_followed before;

	pthread_mutex_lock(&browse->mutex);
	before = browse->followed;
	browse->followed = *followed;
	pthread_mutex_unlock(&browse->mutex);
	browse_followed_clear(&before);
	*followed = (struct browse_followed){0};
}

static struct browse_followed followed_of(struct browse *browse)
{
	struct browse_followed followed;

	pthread_mutex_lock(&browse->mutex);
	followed = browse->followed;
	followed.name = xstrdup_or_null(followed.name);
	followed.problem = xstrdup_or_null(followed.problem);
	pthread_mutex_unlock(&browse->mutex);
	return followed;
}

void browse_state_clear(struct browse_state *state)
{
	browse_followed_clear(&state->followed);
}

struct browse_state browse_state(struct browse *browse)
{
	struct disk_cache *disk = browse->options.disk;

	return (struct browse_state){.followed = followed_of(browse),
	                             .fetched = blob_source_counts(browse->place),
	                             .read_bytes = atomic_load(&browse->read_bytes),
	                             .memory_bytes = shared_cache_cost(browse->blobs) + shared_cache_cost(browse->dirs) +
	                                             shared_cache_cost(browse->pieces) + shared_cache_cost(browse->parts),
	                             .has_disk = disk != NULL,
	                             .disk = disk ? disk_cache_state(disk) : (struct disk_cache_state){0}};
}
