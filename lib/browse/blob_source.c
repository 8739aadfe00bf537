#include "lib/browse/blob_source.h"

#include <errno.h>
#include <pthread.h>

struct source {
	struct blob_source source; /* first */
	struct repository *repository;
	pthread_mutex_t lock; /* guards what follows */
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
	array_add(&source->idle, reader);
	pthread_mutex_unlock(&source->lock);
}

static int get(struct blob_source *arg, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	struct source *source = (struct source *)arg;
	struct repository_reader *reader = take_reader(source);
	int r = repository_read_blob(reader, id, is_tree, ret_plain);

	give_reader(source, reader);
	return r;
}

static int length(struct blob_source *arg, const struct blob_id *id, bool is_tree, uint64_t *ret_len)
{
	const struct source *source = (const struct source *)arg;
	struct blob_place place;

	if (!blob_index_find(source->repository->index, id, is_tree, 0, &place))
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
	free(source);
}

struct blob_source *blob_source_repository(struct repository *repository)
{
	struct source *source = xcalloc(1, sizeof(*source));

	source->source = (struct blob_source){.get = get, .length = length, .free = free_source};
	source->repository = repository;
	pthread_mutex_init(&source->lock, NULL);
	return &source->source;
}

void blob_source_free(struct blob_source *source)
{
	if (source)
		source->free(source);
}
