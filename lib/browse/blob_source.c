#include "lib/browse/blob_source.h"

#include <errno.h>
#include <pthread.h>

#define IDLE_MAX 4 /* each has room for the largest blob that it read */

struct source {
	struct blob_source source; /* first */
	struct repository *repository;
	pthread_rwlock_t index; /* of the repository: held for reading while it is used */
	pthread_mutex_t lock;   /* guards what follows */
	ARRAY(struct repository_reader *) idle;
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

static int get(struct blob_source *arg, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	struct source *source = (struct source *)arg;
	struct repository_reader *reader = take_reader(source);
	int r;

	pthread_rwlock_rdlock(&source->index);
	r = repository_read_blob(reader, id, is_tree, ret_plain);
	pthread_rwlock_unlock(&source->index);
	give_reader(source, reader);
	return r;
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
	pthread_mutex_destroy(&source->lock);
	pthread_rwlock_destroy(&source->index);
	free(source);
}

struct blob_source *blob_source_repository(struct repository *repository)
{
	struct source *source = xcalloc(1, sizeof(*source));

	source->source = (struct blob_source){.get = get, .length = length, .free = free_source};
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

void blob_source_free(struct blob_source *source)
{
	if (source)
		source->free(source);
}
