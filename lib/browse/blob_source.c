#include "lib/browse/blob_source.h"

#include <errno.h>
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/repository/fetch.h"

#define TOLD_MS 1000
#define LATE_MAX 1024
#define ASKING_MANY 8
#define IDLE_MAX 4 /* each has room for the largest blob that it read, or for what one fetch holds */

/* A blob that was waited for, for long and in vain. */
struct late {
	struct blob_id id;
	uint64_t at_ms;
	int result;
};

struct source {
	struct blob_source source; /* first */
	struct repository *repository;
	pthread_rwlock_t index; /* of the repository: held for reading while it is used */
	pthread_mutex_t lock;   /* guards what follows */
	ARRAY(struct repository_reader *) idle;
	ARRAY(struct fetch *) idle_fetches;
	struct blob_source_counts counts;
	unsigned asking;  /* how many wait for the place */
	uint64_t in_vain; /* when somebody waited for long, and in vain, and the place has not answered since; 0: never */
	struct late late[LATE_MAX]; /* a ring: the oldest is overwritten, and that number `lates` modulo LATE_MAX is the next one */
	size_t lates;
};

static struct repository_reader *take_reader(struct source *source)
{
	struct repository_reader *reader = NULL;

	pthread_mutex_lock(&source->lock);
	if (source->idle.count > 0)
		reader = source->idle.items[--source->idle.count];
	pthread_mutex_unlock(&source->lock);
	return reader ? reader : repository_reader_new(source->repository);
}

static void give_reader(struct source *source, struct repository_reader *reader)
{
	pthread_mutex_lock(&source->lock);
	if (source->idle.count < IDLE_MAX)
		array_add(&source->idle, steal_ptr(reader));
	pthread_mutex_unlock(&source->lock);
	repository_reader_free(reader);
}

static struct fetch *take_fetch(struct source *source)
{
	struct fetch *fetch = NULL;

	pthread_mutex_lock(&source->lock);
	if (source->idle_fetches.count > 0)
		fetch = source->idle_fetches.items[--source->idle_fetches.count];
	pthread_mutex_unlock(&source->lock);
	return fetch ? fetch : fetch_new(source->repository, NULL);
}

static void give_fetch(struct source *source, struct fetch *fetch)
{
	pthread_mutex_lock(&source->lock);
	if (source->idle_fetches.count < IDLE_MAX)
		array_add(&source->idle_fetches, steal_ptr(fetch));
	pthread_mutex_unlock(&source->lock);
	fetch_free(fetch);
}

/* True: the caller asks the place. False: many do, and one has just found out that it does not answer. */
static bool begin_asking(struct source *source)
{
	bool asks;

	pthread_mutex_lock(&source->lock);
	asks = source->asking < ASKING_MANY || !source->in_vain || clock_ms() - source->in_vain >= TOLD_MS;
	source->asking += asks;
	pthread_mutex_unlock(&source->lock);
	return asks;
}

/* What the place said of the blob just now, after long, if it has not answered since; else 0. So who wants the same does not wait again. */
static int was_late(struct source *source, const struct blob_id *id)
{
	const uint64_t now = clock_ms();
	int r = 0;

	pthread_mutex_lock(&source->lock);
	for (size_t i = source->lates; source->in_vain && i > 0 && i + LATE_MAX > source->lates && r == 0; i--) {
		const struct late *late = &source->late[(i - 1) % LATE_MAX];

		if (now - late->at_ms >= TOLD_MS)
			break;
		if (blob_id_equal(&late->id, id))
			r = late->result;
	}
	pthread_mutex_unlock(&source->lock);
	return r;
}

static void note_late(struct source *source, const struct blob_id *id, uint64_t began_us, int result)
{
	if (!objects_is_away(result) || clock_us() - began_us < FETCH_LONG_US)
		return;
	pthread_mutex_lock(&source->lock);
	source->late[source->lates++ % LATE_MAX] = (struct late){*id, clock_ms(), result};
	pthread_mutex_unlock(&source->lock);
}

/* After begin_asking. */
static void end_asking(struct source *source, uint64_t began_us, uint64_t blobs, uint64_t bytes, int result)
{
	const uint64_t us = clock_us() - began_us;
	const size_t time = us ? 64 - (size_t)__builtin_clzll(us) : 0;

	pthread_mutex_lock(&source->lock);
	source->asking--;
	source->counts.fetches++;
	source->counts.failures += result < 0;
	source->counts.blobs += blobs;
	source->counts.bytes += bytes;
	source->counts.by_time[MIN(time, BLOB_SOURCE_TIMES - 1UL)]++;
	/* Also who says no answers. */
	source->in_vain = !objects_is_away(result) ? 0 : us >= FETCH_LONG_US ? clock_ms() : source->in_vain;
	pthread_mutex_unlock(&source->lock);
}

static int get(struct blob_source *arg, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	struct source *source = (struct source *)arg;
	const uint64_t began = clock_us();
	struct repository_reader *reader;
	int r = was_late(source, id);

	if (r < 0)
		return r;
	if (!begin_asking(source))
		return -EHOSTUNREACH;
	reader = take_reader(source);
	pthread_rwlock_rdlock(&source->index);
	r = repository_read_blob(reader, id, is_tree, ret_plain);
	pthread_rwlock_unlock(&source->index);
	give_reader(source, reader);
	note_late(source, id, began, r);
	end_asking(source, began, r == 0, r < 0 ? 0 : ret_plain->len, r);
	return r;
}

/* As many as one fetch holds, from number `first` on. None: that one is too long for it, or unknown. */
static size_t add_some(struct source *source, struct fetch *fetch, const struct blob_id *ids, size_t first, size_t count)
{
	size_t next = first;

	fetch_begin(fetch);
	pthread_rwlock_rdlock(&source->index);
	while (next < count && fetch_add(fetch, &ids[next]))
		next++;
	pthread_rwlock_unlock(&source->index);
	return next - first;
}

/* Blobs that are fetched at once: those from number `first` on, before `next`. */
struct batch {
	const struct blob_id *ids;
	size_t first, next;
	uint64_t began_us;
};

static void count_batch(struct source *source, struct fetch *fetch, const struct batch *batch)
{
	uint64_t blobs = 0, bytes = 0;
	int result = 0;

	for (size_t i = batch->first; i < batch->next; i++) {
		const void *data;
		size_t len = 0;
		const int r = fetch_find(fetch, &batch->ids[i], &data, &len);

		note_late(source, &batch->ids[i], batch->began_us, MIN(r, 0));
		if (r < 0 && !objects_is_away(result))
			result = r;
		blobs += r == 1;
		bytes += len;
	}
	end_asking(source, batch->began_us, blobs, bytes, result);
}

/* The rest is left to `get`, which asks for each alone, but not if that means to wait for long again. */
static void give_batch(struct fetch *fetch, const struct batch *batch, blob_source_each_fn each, void *arg)
{
	for (size_t i = batch->first; i < batch->next; i++) {
		const void *data = NULL;
		size_t len = 0;
		const int r = fetch_find(fetch, &batch->ids[i], &data, &len);

		if (r == 1)
			each(arg, i, 0, data, len);
		else if (r < 0 && r != -EBADMSG)
			each(arg, i, r, NULL, 0);
	}
}

static void get_many(struct blob_source *arg, const struct blob_id *ids, size_t count, blob_source_each_fn each, void *each_arg)
{
	struct source *source = (struct source *)arg;
	struct fetch *fetch = take_fetch(source);
	struct batch batch = {.ids = ids};
	size_t added;
	int r;

	for (; batch.first < count; batch.first = batch.next) {
		batch.next = batch.first + 1;
		added = add_some(source, fetch, ids, batch.first, count);
		if (added == 0)
			continue;
		r = was_late(source, &ids[batch.first]);
		if (r == 0 && !begin_asking(source))
			r = -EHOSTUNREACH;
		if (r < 0) {
			each(each_arg, batch.first, r, NULL, 0);
			continue;
		}
		batch.next = batch.first + added;
		batch.began_us = clock_us();
		fetch_run(fetch);
		count_batch(source, fetch, &batch); /* before anybody who waits for one of them goes on */
		give_batch(fetch, &batch, each, each_arg);
	}
	give_fetch(source, fetch);
}

static int length(struct blob_source *arg, const struct blob_id *id, bool is_tree, uint64_t *ret_len)
{
	struct source *source = (struct source *)arg;
	struct blob_place place;
	bool is_there;

	pthread_rwlock_rdlock(&source->index);
	is_there = blob_index_find(source->repository->index, id, is_tree, 0, &place);
	pthread_rwlock_unlock(&source->index);
	if (!is_there)
		return -ENOENT;
	if (!place.blob.plain && place.blob.length < SEAL_EXTRA)
		return -EBADMSG;
	*ret_len = place.blob.plain ? place.blob.plain : place.blob.length - SEAL_EXTRA;
	return 0;
}

static void free_source(struct blob_source *arg)
{
	struct source *source = (struct source *)arg;

	for (size_t i = 0; i < source->idle.count; i++)
		repository_reader_free(source->idle.items[i]);
	array_clear(&source->idle);
	for (size_t i = 0; i < source->idle_fetches.count; i++)
		fetch_free(source->idle_fetches.items[i]);
	array_clear(&source->idle_fetches);
	pthread_mutex_destroy(&source->lock);
	pthread_rwlock_destroy(&source->index);
	free(source);
}

struct blob_source *blob_source_repository(struct repository *repository)
{
	struct source *source = xcalloc(1, sizeof(*source));

	source->source = (struct blob_source){.get = get, .get_many = get_many, .length = length, .free = free_source};
	source->repository = repository;
	pthread_mutex_init(&source->lock, NULL);
	pthread_rwlock_init(&source->index, NULL);
	return &source->source;
}

/* Who reads is waited for, and that may be long. */
static void exclusive(void *arg, bool begin)
{
	struct source *source = arg;

	if (begin)
		pthread_rwlock_wrlock(&source->index);
	else
		pthread_rwlock_unlock(&source->index);
}

int blob_source_refresh(struct blob_source *arg, struct error *err)
{
	struct source *source = (struct source *)arg;

	return repository_load_new_index(source->repository, exclusive, source, err);
}

struct blob_source_counts blob_source_counts(struct blob_source *arg)
{
	struct source *source = (struct source *)arg;
	struct blob_source_counts counts;

	pthread_mutex_lock(&source->lock);
	counts = source->counts;
	pthread_mutex_unlock(&source->lock);
	counts.sent_again = objects_sent_again(source->repository->objects);
	return counts;
}

/* --- with a cache --- */

struct cached_source {
	struct blob_source source; /* first */
	struct blob_source *behind;
	struct disk_cache *cache;
};

static int find_cached(struct blob_source *arg, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	return disk_cache_get(((struct cached_source *)arg)->cache, id, is_tree, ret_plain) < 0 ? -EAGAIN : 0;
}

static int get_cached(struct blob_source *arg, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	struct cached_source *source = (struct cached_source *)arg;
	int r = disk_cache_get(source->cache, id, is_tree, ret_plain);

	if (r == 0)
		return 0;
	r = source->behind->get(source->behind, id, is_tree, ret_plain);
	if (r == 0)
		disk_cache_put(source->cache, id, is_tree, ret_plain->data, ret_plain->len);
	return r;
}

struct giving {
	struct disk_cache *cache;
	const struct blob_id *ids;
	const size_t *numbers; /* of the ids, for who asked */
	blob_source_each_fn each;
	void *arg;
};

static void give_fetched(void *arg, size_t number, int result, const void *data, size_t len)
{
	const struct giving *giving = arg;

	giving->each(giving->arg, giving->numbers[number], result, data, len);
	if (result == 0)
		disk_cache_put(giving->cache, &giving->ids[number], false, data, len);
}

static void get_many_cached(struct blob_source *arg, const struct blob_id *ids, size_t count, blob_source_each_fn each, void *each_arg)
{
	struct cached_source *source = (struct cached_source *)arg;
	AUTO_FREE struct blob_id *missing = xcalloc(count + 1, sizeof(*missing));
	AUTO_FREE size_t *numbers = xcalloc(count + 1, sizeof(*numbers));
	struct giving giving = {source->cache, missing, numbers, each, each_arg};
	AUTO_BUF plain = BUF_INIT;
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (disk_cache_get(source->cache, &ids[i], false, &plain) == 0) {
			each(each_arg, i, 0, plain.data, plain.len);
			continue;
		}
		missing[left] = ids[i];
		numbers[left++] = i;
	}
	if (left > 0)
		source->behind->get_many(source->behind, missing, left, give_fetched, &giving);
}

static int length_behind(struct blob_source *arg, const struct blob_id *id, bool is_tree, uint64_t *ret_len)
{
	struct blob_source *behind = ((struct cached_source *)arg)->behind;

	return behind->length(behind, id, is_tree, ret_len);
}

static void free_cached_source(struct blob_source *arg)
{
	free(arg);
}

struct blob_source *blob_source_cached(struct blob_source *behind, struct disk_cache *cache)
{
	struct cached_source *source = xcalloc(1, sizeof(*source));

	source->source = (struct blob_source){.get = get_cached, .find = find_cached, .get_many = get_many_cached,
	                                      .length = length_behind, .free = free_cached_source};
	source->behind = behind;
	source->cache = cache;
	return &source->source;
}

void blob_source_free(struct blob_source *source)
{
	if (source)
		source->free(source);
}
