#include "lib/chunk/ids.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/format/key.h"

#define STRIDE 65536ULL
#define FIRST_SMALL 1ULL /* 0 is CHUNK_NONE */
#define FIRST_BULK (CHUNK_BULK | 1)

struct counter {
	const char *name;
	bool bulk;
	uint64_t next;  /* to give out */
	uint64_t limit; /* durable: ids below it may be given out */
};

struct ids {
	struct kv *kv;
	pthread_mutex_t lock;       /* guards the counters */
	struct counter counters[2]; /* small, bulk */
};

static int counter_load(struct kv *kv, struct backend *backend, struct counter *counter)
{
	struct small_key key = catalog_key_name('N', counter->name);
	AUTO_BUF value = BUF_INIT;
	uint64_t next;
	int ret = kv_get(kv, KV_CATALOG, key.bytes, key.len, &value);

	if (!ret) {
		struct reader reader = reader_over(value.data, value.len);

		next = read_le64(&reader);
		if (reader.bad || reader.left || (next ^ counter->next) & (CHUNK_BULK | CHUNK_REMOTE))
			return -EBADMSG;
		counter->next = MAX(counter->next, next);
	} else if (ret != -ENOENT) {
		return ret;
	}
	ret = backend_end(backend, counter->bulk, &next);
	if (ret)
		return ret;
	counter->next = MAX(counter->next, next);
	counter->limit = counter->next;
	return 0;
}

static int counter_store(struct kv *kv, const struct counter *counter, uint64_t value, unsigned flags)
{
	struct small_key key = catalog_key_name('N', counter->name);
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF bytes = BUF_INIT;
	int ret;

	buf_add_le64(&bytes, value);
	kv_batch_put(batch, KV_CATALOG, key.bytes, key.len, bytes.data, bytes.len);
	ret = kv_write(kv, batch, flags);
	kv_batch_free(batch);
	return ret;
}

int ids_open(struct kv *kv, struct backend *backend, struct ids **ret_ids, struct error *err)
{
	struct ids *ids = xcalloc(1, sizeof(*ids));

	ids->kv = kv;
	pthread_mutex_init(&ids->lock, NULL);
	ids->counters[0] = (struct counter){.name = "small", .next = FIRST_SMALL};
	ids->counters[1] = (struct counter){.name = "bulk", .bulk = true, .next = FIRST_BULK};
	for (size_t i = 0; i < ARRAY_SIZE(ids->counters); i++) {
		int ret = counter_load(kv, backend, &ids->counters[i]);

		if (ret) {
			error_default(err, ret, "the counter of %s chunks cannot be read", ids->counters[i].name);
			pthread_mutex_destroy(&ids->lock);
			free(ids);
			return ret;
		}
	}
	*ret_ids = ids;
	return 0;
}

void ids_close(struct ids *ids)
{
	if (!ids)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ids->counters); i++) {
		const struct counter *counter = &ids->counters[i];
		int ret = 0;

		if (counter->limit != counter->next)
			ret = counter_store(ids->kv, counter, counter->next, 0);
		(void)ret; /* then the rest of the stride is never used */
	}
	pthread_mutex_destroy(&ids->lock);
	free(ids);
}

int ids_take(struct ids *ids, bool bulk, uint64_t count, uint64_t *ret_first)
{
	struct counter *counter = &ids->counters[bulk];
	int ret = 0;

	pthread_mutex_lock(&ids->lock);
	if (counter->limit - counter->next < count) {
		uint64_t limit = counter->next + count + STRIDE;

		ret = counter_store(ids->kv, counter, limit, KV_SYNC);
		if (!ret)
			counter->limit = limit;
	}
	if (!ret) {
		*ret_first = counter->next;
		counter->next += count;
	}
	pthread_mutex_unlock(&ids->lock);
	return ret;
}

uint64_t ids_next(struct ids *ids, bool bulk)
{
	uint64_t next;

	pthread_mutex_lock(&ids->lock);
	next = ids->counters[bulk].next;
	pthread_mutex_unlock(&ids->lock);
	return next;
}
