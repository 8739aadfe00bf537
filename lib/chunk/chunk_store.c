#include "lib/chunk/chunk_store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/format/record.h"

static bool power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

static int check_options(const struct chunks_options *options, struct error *err)
{
	if (!power_of_two(options->min) || !power_of_two(options->average) || !power_of_two(options->max) || options->min < 64 ||
	    options->min >= options->average || options->average >= options->max || options->max > CHUNK_LEN_MAX)
		return error_set(err, -EINVAL, "chunk sizes %u, %u, %u are not ascending powers of two up to 16 MiB",
		                 options->min, options->average, options->max);
	return 0;
}

int chunks_open(struct kv *kv, struct pool *pool, const struct chunks_options *options, struct chunks **ret_chunks,
                struct error *err)
{
	struct backend *backend = NULL;
	struct damaged *damaged = NULL;
	struct chunks *chunks;
	struct ids *ids;
	int ret = check_options(options, err);

	if (!ret)
		ret = backend_open(kv, options->ingest_dir, &backend, err);
	if (!ret)
		ret = damaged_open(kv, &damaged, err);
	if (!ret)
		ret = ids_open(kv, backend, &ids, err);
	if (ret) {
		damaged_close(damaged);
		backend_close(backend);
		return ret;
	}
	chunks = xcalloc(1, sizeof(*chunks));
	chunks->kv = kv;
	chunks->pool = pool;
	chunks->backend = backend;
	chunks->ids = ids;
	chunks->cache = cache_new(options->cache_bytes, options->max);
	chunks->ahead = ahead_new(backend);
	chunks->begun = begun_new(backend);
	chunks->scratch = scratch_pool_new();
	chunks->damaged = damaged;
	cut_init(&chunks->cut, options->min, options->average, options->max);
	/* writers come first: the collector must not starve behind a steady stream of groups */
	rwlock_init(&chunks->mark_lock, LOCK_MARK);
	mutex_init(&chunks->groups_lock, LOCK_GROUPS);
	*ret_chunks = chunks;
	return 0;
}

void chunks_close(struct chunks *chunks)
{
	if (!chunks)
		return;
	assert(!chunks->groups && !chunks->mark);
	begun_free(chunks->begun);
	ahead_free(chunks->ahead);
	ids_close(chunks->ids);
	backend_close(chunks->backend);
	damaged_close(chunks->damaged);
	scratch_pool_free(chunks->scratch);
	cache_free(chunks->cache);
	rwlock_clear(&chunks->mark_lock);
	mutex_clear(&chunks->groups_lock);
	free(chunks);
}
