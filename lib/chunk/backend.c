#include "lib/chunk/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/chunk/removed.h"
#include "lib/format/key.h"

struct backend {
	struct kv *kv;
	char *work_dir;
	struct kv_tables *bulk, *small;
	struct removed *removed;
};

static enum kv_family family_of(uint64_t id)
{
	return id & CHUNK_BULK ? KV_BULK : KV_SMALL;
}

static int prepare_work_dir(const char *path, struct error *err)
{
	int ret = mkdir(path, 0700) && errno != EEXIST ? -errno : 0;

	if (!ret)
		ret = file_empty_dir(path);
	if (ret)
		error_default(err, ret, "%s cannot be prepared", path);
	return ret;
}

int backend_open(struct kv *kv, const char *work_dir, struct backend **ret_backend, struct error *err)
{
	struct backend *backend;
	int ret = kv_read_only(kv) ? 0 : prepare_work_dir(work_dir, err);

	if (ret)
		return ret;
	backend = xcalloc(1, sizeof(*backend));
	backend->kv = kv;
	backend->work_dir = xstrdup(work_dir);
	backend->bulk = kv_tables_new(kv, KV_BULK);
	backend->small = kv_tables_new(kv, KV_SMALL);
	backend->removed = removed_new(kv);
	*ret_backend = backend;
	return 0;
}

void backend_close(struct backend *backend)
{
	if (!backend)
		return;
	kv_tables_free(backend->bulk);
	kv_tables_free(backend->small);
	removed_free(backend->removed);
	free(backend->work_dir);
	free(backend);
}

/* --- get --- */

int backend_get(struct backend *backend, uint64_t id, struct backend_record *ret_record)
{
	struct small_key key = chunk_key(id);

	return kv_pin(backend->kv, family_of(id), key.bytes, key.len, &ret_record->pin, &ret_record->bytes, &ret_record->len);
}

void backend_release(struct backend_record *record)
{
	kv_unpin(record->pin);
}

static struct kv_tables *tables_of(const struct backend *backend, uint64_t id)
{
	return id & CHUNK_BULK ? backend->bulk : backend->small;
}

size_t backend_get_many(struct backend *backend, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values)
{
	return kv_tables_read(tables_of(backend, first), first, count, raw, values);
}

size_t backend_get_many_disk(struct backend *backend, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values)
{
	return kv_tables_read_disk(tables_of(backend, first), first, count, raw, values);
}

bool backend_may_be_removed(struct backend *backend, uint64_t first, size_t count)
{
	return removed_may_have(backend->removed, first, count);
}

bool backend_begin_many(struct backend *backend, uint64_t first, size_t count, struct kv_raw *raw)
{
	return kv_tables_begin(tables_of(backend, first), first, count, raw);
}

size_t backend_end_many(struct kv_raw *raw, struct kv_value *values)
{
	return kv_tables_end(raw, values);
}

void backend_refresh(struct backend *backend)
{
	kv_tables_refresh(backend->bulk);
	kv_tables_refresh(backend->small);
}

/* --- put --- */

struct backend_put {
	struct kv *kv;
	struct kv_sst *sst;     /* of a bulk group */
	struct kv_batch *batch; /* of a small one */
};

bool backend_takes_bulk(struct backend *backend)
{
	return kv_takes_files(backend->kv);
}

int backend_put_begin(struct backend *backend, uint64_t first, struct kv_batch *batch, struct backend_put **ret_put)
{
	struct backend_put *put = xcalloc(1, sizeof(*put));
	int ret = 0;

	put->kv = backend->kv;
	if (first & CHUNK_BULK) {
		AUTO_FREE char *path = xasprintf("%s/%016" PRIx64 ".sst", backend->work_dir, first);

		ret = kv_sst_new(backend->kv, KV_BULK, path, &put->sst);
	} else {
		put->batch = batch;
	}
	if (ret) {
		free(put);
		return ret;
	}
	*ret_put = put;
	return 0;
}

int backend_put(struct backend_put *put, uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t len)
{
	struct small_key key = chunk_key(id);

	if (put->batch) {
		kv_batch_put2(put->batch, KV_SMALL, key.bytes, key.len, header, CHUNK_HEADER_LEN, stored, len);
		return 0;
	}
	return kv_sst_put(put->sst, key.bytes, key.len, header, CHUNK_HEADER_LEN, stored, len);
}

int backend_put_end(struct backend_put *put)
{
	int ret = put->sst ? kv_sst_finish(put->sst) : 0;

	if (ret || !put->sst)
		return ret;
	ret = fault_point("chunks-before-ingest");
	if (!ret)
		ret = kv_ingest(put->kv, put->sst);
	return ret ? ret : fault_point("chunks-after-ingest");
}

void backend_put_free(struct backend_put *put)
{
	if (!put)
		return;
	kv_sst_free(put->sst);
	free(put);
}

/* --- removal --- */

struct backend_scan {
	struct kv_iter *iter;
	uint64_t at; /* the id found last; 0: none */
};

struct backend_scan *backend_scan_new(struct backend *backend, uint64_t first, uint64_t end)
{
	struct backend_scan *scan = xcalloc(1, sizeof(*scan));
	struct small_key from = chunk_key(first), to = chunk_key(end);

	scan->iter = kv_iter_new_flags(backend->kv, family_of(first), from.bytes, from.len, to.bytes, to.len, KV_ITER_SCAN);
	return scan;
}

void backend_scan_free(struct backend_scan *scan)
{
	if (!scan)
		return;
	kv_iter_free(scan->iter);
	free(scan);
}

int backend_scan_seek(struct backend_scan *scan, uint64_t id, uint64_t *ret_id)
{
	struct small_key key = chunk_key(id);
	const uint8_t *bytes;
	size_t len;
	int ret;

	if (scan->at && id == scan->at + 1)
		kv_iter_next(scan->iter);
	else
		kv_iter_seek(scan->iter, key.bytes, key.len);
	if (!kv_iter_valid(scan->iter)) {
		scan->at = 0;
		ret = kv_iter_status(scan->iter);
		return ret ? ret : -ENOENT;
	}
	bytes = kv_iter_key(scan->iter, &len);
	ret = chunk_key_parse(bytes, len, &scan->at);
	if (!ret)
		*ret_id = scan->at;
	return ret;
}

const uint8_t *backend_scan_record(const struct backend_scan *scan, size_t *ret_len)
{
	return kv_iter_value(scan->iter, ret_len);
}

void backend_drop(struct backend *backend, struct kv_batch *batch, uint64_t id)
{
	struct small_key key = chunk_key(id);

	removed_note(backend->removed, id, id);
	kv_batch_delete(batch, family_of(id), key.bytes, key.len);
}

/* Files go at once, whatever the log says. So the log goes to the disk first: after a crash nothing may name what was dropped. */
int backend_drop_run(struct backend *backend, uint64_t first, uint64_t last)
{
	struct small_key from = chunk_key(first), to = chunk_key(last + 1);
	int ret = kv_sync(backend->kv);

	removed_note(backend->removed, first, last);
	if (!ret)
		ret = kv_drop_range(backend->kv, family_of(first), from.bytes, from.len, to.bytes, to.len);
	if (!ret)
		kv_tables_refresh(tables_of(backend, first));
	return ret;
}

struct table_call {
	int (*each)(void *arg, const struct backend_table *table);
	void *arg;
};

static int call_with_table(void *arg, const struct kv_table *table)
{
	const struct table_call *call = arg;
	struct backend_table found = {.bytes = table->bytes, .records = table->records};
	int ret = chunk_key_parse(table->first, table->first_len, &found.first);

	if (!ret)
		ret = chunk_key_parse(table->last, table->last_len, &found.last);
	return ret ? ret : call->each(call->arg, &found);
}

int backend_each_table(struct backend *backend, bool bulk, int (*each)(void *arg, const struct backend_table *table), void *arg)
{
	struct table_call call = {.each = each, .arg = arg};

	return kv_each_table(backend->kv, bulk ? KV_BULK : KV_SMALL, call_with_table, &call);
}

int backend_compact(struct backend *backend, uint64_t first, uint64_t last, uint64_t bytes)
{
	struct small_key from = chunk_key(first), to = chunk_key(last + 1);
	int ret = kv_compact_range(backend->kv, family_of(first), from.bytes, from.len, to.bytes, to.len, bytes);

	kv_tables_refresh(tables_of(backend, first));
	return ret;
}

static int note_last(void *arg, const struct backend_table *table)
{
	uint64_t *last = arg;

	*last = MAX(*last, table->last);
	return 0;
}

/* The database knows the last key of a table without reading the record, which may be damaged, or missing with the whole file (-EIO). */
static int end_of_tables(struct backend *backend, bool bulk, uint64_t *ret_end)
{
	uint64_t last = 0;
	int ret = backend_each_table(backend, bulk, note_last, &last);

	if (!ret)
		*ret_end = last + 1;
	return ret;
}

int backend_end(struct backend *backend, bool bulk, uint64_t *ret_end)
{
	struct small_key top = chunk_key(UINT64_MAX);
	struct kv_iter *iter = kv_iter_new(backend->kv, bulk ? KV_BULK : KV_SMALL, NULL, 0, NULL, 0);
	uint64_t id = 0;
	int ret;

	kv_iter_seek_for_prev(iter, top.bytes, top.len);
	ret = kv_iter_status(iter);
	if (!ret && kv_iter_valid(iter)) {
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);

		ret = chunk_key_parse(key, len, &id);
		id++;
	}
	kv_iter_free(iter);
	if (ret == -EBADMSG || ret == -EIO)
		return end_of_tables(backend, bulk, ret_end);
	if (!ret)
		*ret_end = id;
	return ret;
}

uint64_t backend_estimate(struct backend *backend)
{
	return kv_estimate_keys(backend->kv, KV_BULK) + kv_estimate_keys(backend->kv, KV_SMALL);
}

uint64_t backend_disk_bytes(struct backend *backend)
{
	return kv_disk_bytes(backend->kv, KV_BULK) + kv_disk_bytes(backend->kv, KV_SMALL);
}
