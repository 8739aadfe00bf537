/*
 * Where chunk records live. Whoever reads, takes in or sweeps chunks knows ids and records; only backend.c knows the places. Today these
 * are two column families of the database: small chunks come through its log, in a batch; bulk chunks come as table files that are made
 * outside of it and moved in. Chunks in an object store would be other code behind the same calls.
 *
 *   one record      backend_get -> backend_release
 *   neighbours      backend_get_many, and now and then backend_refresh
 *   a group         backend_put_begin -> backend_put* -> backend_put_end -> backend_put_free
 *   removal         backend_scan finds records; backend_drop removes one as part of a batch; backend_drop_run gives the room of many back
 *
 * Ids say which place is meant (CHUNK_BULK). Records are not verified here: chunk_record.h does that. Errors: -ENOENT there is no such
 * record, -EBADMSG the place is damaged, -EIO, -ENOSPC. Any thread, but a put or a scan belongs to one thread at a time.
 */
#ifndef CORPUSFS_CHUNK_BACKEND_H
#define CORPUSFS_CHUNK_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/format/record.h"
#include "lib/kv/kv.h"

struct backend;

/* `work_dir` is for files under construction; it is made, and emptied of what a killed process left. */
WARN_UNUSED int backend_open(struct kv *kv, const char *work_dir, struct backend **ret_backend, struct error *err);
void backend_close(struct backend *backend); /* NULL is fine */

struct backend_record {
	const uint8_t *bytes;
	size_t len;
	struct kv_pin *pin;
};
WARN_UNUSED int backend_get(struct backend *backend, uint64_t id, struct backend_record *ret_record);
void backend_release(struct backend_record *record);

/*
 * Reads the records of the `count` ids from `first` on with one read, past the page cache unless they are all there. Where a record was
 * not found so, for whatever reason, values[i].data is NULL, and backend_get() has the last word. The records lie in `raw` until it is
 * used again. Returns how many were found.
 */
size_t backend_get_many(struct backend *backend, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values);
/* The same as the disk has it, whatever is in the page cache. */
size_t backend_get_many_disk(struct backend *backend, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values);
/* Both also find what was removed, until it is merged away. False: of these ids nothing was; else backend_get() tells. (removed.h) */
bool backend_may_be_removed(struct backend *backend, uint64_t first, size_t count);
/* As backend_get_many, in two steps; false: nothing was begun. */
bool backend_begin_many(struct backend *backend, uint64_t first, size_t count, struct kv_raw *raw);
size_t backend_end_many(struct kv_raw *raw, struct kv_value *values);
void backend_refresh(struct backend *backend); /* closes files that were removed meanwhile: their room comes back */

/*
 * Takes in the records of a group, in ascending order of their ids, which are of one kind. Bulk records are durable when
 * backend_put_end() returns 0; small ones are part of `batch`.
 */
bool backend_takes_bulk(struct backend *backend); /* false: for now only small records */
struct backend_put;
WARN_UNUSED int backend_put_begin(struct backend *backend, uint64_t first, struct kv_batch *batch, struct backend_put **ret_put);
WARN_UNUSED int backend_put(struct backend_put *put, uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t len);
WARN_UNUSED int backend_put_end(struct backend_put *put);
void backend_put_free(struct backend_put *put); /* without backend_put_end(): nothing stays. NULL is fine */

/* Records of [first, end), of one kind, as of the moment of the call. It keeps removed records on the disk while it lives. */
struct backend_scan;
struct backend_scan *backend_scan_new(struct backend *backend, uint64_t first, uint64_t end);
void backend_scan_free(struct backend_scan *scan);
WARN_UNUSED int backend_scan_seek(struct backend_scan *scan, uint64_t id, uint64_t *ret_id); /* the first at or above `id`; -ENOENT */
const uint8_t *backend_scan_record(const struct backend_scan *scan, size_t *ret_len);        /* of the id found last */

void backend_drop(struct backend *backend, struct kv_batch *batch, uint64_t id);

/* Gives the room of [first, last] back at once; all records there were dropped, and the batches written. */
WARN_UNUSED int backend_drop_run(struct backend *backend, uint64_t first, uint64_t last);

/* A file of records of one kind, with ids in [first, last]. Some of the records may have been dropped since. */
struct backend_table {
	uint64_t first, last, bytes, records;
};
/* Stops when the callback returns not 0, and returns that. */
WARN_UNUSED int backend_each_table(struct backend *backend, bool bulk, int (*each)(void *arg, const struct backend_table *table), void *arg);
/* Gives back the room of what was dropped of [first, last], by writing what is left of it anew, about `bytes`. -ENOSPC: no room for that. */
WARN_UNUSED int backend_compact(struct backend *backend, uint64_t first, uint64_t last, uint64_t bytes);

/* Of the files, with what is dead in them. */
uint64_t backend_disk_bytes(struct backend *backend);

/* The id after the last record of a kind; 0 when there is none. */
WARN_UNUSED int backend_end(struct backend *backend, bool bulk, uint64_t *ret_end);

uint64_t backend_estimate(struct backend *backend); /* how many records there are, about */

#endif
