/*
 * The key-value store: the only code that includes rocksdb/c.h.
 *
 * One database with the column families below. Reads, writes and iterators may be used from any thread; a batch, an iterator or an SST
 * writer belongs to one thread at a time. Every function returns 0 or a negative errno: -ENOENT not found, -ENOSPC, -EIO (the text of the
 * engine's message is kept and given by kv_last_error), -EBADMSG corruption.
 *
 * Durability: kv_write() appends to the WAL without waiting for the disk unless KV_SYNC; kv_sync() makes everything written before durable,
 * in order. An ingested SST file is durable when kv_ingest() returns.
 *
 * Full disks: kv_open() and kv_write() return -ENOSPC before RocksDB meets one. If somebody else fills the disk in that moment, RocksDB may
 * meet one all the same and stop writing. kv_stopped() tells; reads go on; opening anew helps.
 *
 * Damage: the log and the manifest are compared at opening with what was known to be on disk (lib/kv/synced.h), and the table files with the
 * manifest. A log that has lost only what nobody was promised, as after a power cut, is not damaged.
 *
 * When RocksDB merges tables and meets damage, it takes no change any more. It is then opened anew by whoever changes it next, and others wait for
 * that; only while a scan goes on does the change fail (lib/kv/reopen.h).
 *
 * A database that cannot be opened is not touched. Nor is one that is opened read-only: its log is replayed in memory. Whoever does that
 * keeps writers away, in this process and in others.
 */
#ifndef CORPUSFS_KV_KV_H
#define CORPUSFS_KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

enum kv_family { KV_CATALOG, KV_TREE, KV_CONTENT, KV_TOUCHED, KV_DEDUP, KV_BULK, KV_SMALL, KV_FAMILY_COUNT };

static inline bool kv_holds_chunks(enum kv_family family)
{
	return family == KV_BULK || family == KV_SMALL;
}

/* What to do about a database that nothing mends. A backup is of datasets: it brings no database back. */
#define DATABASE_HINT_ELSEWHERE "bring the datasets back from backups or a replica, into a new store"

struct kv;
struct kv_batch;
struct kv_iter;
struct kv_sst;
struct kv_pin;

struct kv_options {
	const char *shown;       /* the directory's name in messages; NULL: as it is opened */
	bool create;             /* the directory must not hold a database yet */
	bool read_only;          /* nothing is written, not even to the directory; every change answers -EROFS */
	uint64_t cache_bytes;    /* block cache for metadata (tree, catalog, dedup); chunks are left to the page cache */
	uint64_t memtable_bytes; /* all column families together */
	unsigned threads;        /* background flush and compaction */
	/*
	 * May be NULL. Asked before each write and after each sync whether the database may still be written: 0; -EROFS: it is another
	 * process's now, and nothing is written any more, in the background neither; others: not this time. `now`: an answer of a moment ago
	 * will not do. Any thread, under any lock.
	 */
	int (*check)(void *arg, bool now);
	void *check_arg;
	const char *damage_mark; /* a file that is there while tables are damaged (lib/kv/damage.h); NULL: none */
	const char *ballast;     /* a file that keeps room for a full disk (lib/kv/ballast.h); NULL: none */
	bool any_tables;         /* a table need not say that the database made it (lib/kv/mend_tables.h) */
	bool took_over;          /* from a process that runs no more, though the system may not have given its lock of the database back */
	unsigned accept;         /* with read_only: KV_ACCEPT_*, damage that does not keep the database shut; kv_lost() tells of it */
};

#define KV_ACCEPT_LOG 1U      /* a log ends before what was on disk: the database is as it was before that */
#define KV_ACCEPT_CHUNKS 2U   /* tables with content are missing or short: reading what was in them gives -EIO */
#define KV_ACCEPT_METADATA 4U /* other tables are: what was in them is absent, and older versions of it come back */

/* -EBADMSG: damaged, also when the damage is none that RocksDB would notice; else as above. */
WARN_UNUSED int kv_open(const char *path, const struct kv_options *options, struct kv **ret_kv, struct error *err);
void kv_close(struct kv *kv); /* flushes memtables and the WAL */

const char *kv_lost(const struct kv *kv); /* what of it is lost, in one line; NULL: nothing is known to be */

/* Brings to the disk what is known of the log and the manifest, so that damage to them is found after a power cut, too. Once a second. */
WARN_UNUSED int kv_keep_known(struct kv *kv);
/* Where damage that a merge has met keeps RocksDB from writing: tries to get it going again. As often. */
void kv_go_on(struct kv *kv);

/* The engine's words for the last failure, for logs; "" when there was none. */
#define KV_MESSAGE_MAX 1024
void kv_last_error(struct kv *kv, char ret_text[KV_MESSAGE_MAX]);

WARN_UNUSED int kv_get(struct kv *kv, enum kv_family family, const void *key, size_t key_len, struct buf *value); /* replaces value */
WARN_UNUSED int kv_has(struct kv *kv, enum kv_family family, const void *key, size_t key_len); /* 0 or -ENOENT */

/* Reads without a copy: the value stays valid until kv_unpin. -ESHUTDOWN: the database could not be opened anew, and tells nothing of its values. */
WARN_UNUSED int kv_pin(struct kv *kv, enum kv_family family, const void *key, size_t key_len, struct kv_pin **ret_pin,
		       const uint8_t **ret_value, size_t *ret_len);
void kv_unpin(struct kv_pin *pin);

/* A batch is applied whole or not at all. One that memory was too short for cannot be written: kv_write gives -ENOMEM. */
struct kv_batch *kv_batch_new(void);
void kv_batch_free(struct kv_batch *batch);
void kv_batch_clear(struct kv_batch *batch);
void kv_batch_put(struct kv_batch *batch, enum kv_family family, const void *key, size_t key_len, const void *value, size_t value_len);
/* key of one piece, value of two (header and payload), without joining them first */
void kv_batch_put2(struct kv_batch *batch, enum kv_family family, const void *key, size_t key_len, const void *head, size_t head_len,
		   const void *tail, size_t tail_len);
void kv_batch_delete(struct kv_batch *batch, enum kv_family family, const void *key, size_t key_len);
size_t kv_batch_count(const struct kv_batch *batch);
size_t kv_batch_bytes(const struct kv_batch *batch);

bool kv_read_only(const struct kv *kv);
/* The engine's words for damage that it met, if nobody was told of the same before; true: there are some. */
bool kv_damage_told(struct kv *kv, char ret_text[KV_MESSAGE_MAX]);
/* What is known of the tables (lib/kv/damage.h). */
enum kv_damage {
	KV_SOUND,
	KV_CONTENT_DAMAGED, /* some of content are damaged, in what no file needs, and are not merged; the others are */
	KV_DAMAGED,         /* some are damaged, and none is merged */
};
enum kv_damage kv_damaged(struct kv *kv);
/*
 * All tables are read between the two (kv_each_damaged_table). The second one takes back what is not so any more; damage that somebody else meets
 * meanwhile counts. It is called only if all content that files need can be read, or something whole stands for it. One thread at a time.
 */
void kv_tables_look(struct kv *kv);
void kv_tables_seen(struct kv *kv);
bool kv_stopped(struct kv *kv); /* a change has failed, and no kv_sync() has succeeded since */

#define KV_SYNC 1U
#define KV_GIVES_ROOM 2U /* it may take the last of what is kept for a full disk */
WARN_UNUSED int kv_write(struct kv *kv, struct kv_batch *batch, unsigned flags);
WARN_UNUSED int kv_sync(struct kv *kv);
uint64_t kv_unsynced_ms(struct kv *kv); /* how long ago the oldest batch was written that no sync has followed; 0: there is none */

/* Iterates over [first, end); `end` may be NULL for none. Sees the database as it was when the iterator was made. */
struct kv_iter *kv_iter_new(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len);
#define KV_ITER_SCAN 1U /* long scan: read ahead, do not fill the block cache */
struct kv_iter *kv_iter_new_flags(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end,
				  size_t end_len, unsigned flags);
void kv_iter_free(struct kv_iter *iter);
void kv_iter_first(struct kv_iter *iter);
void kv_iter_seek(struct kv_iter *iter, const void *key, size_t key_len);          /* first key >= */
void kv_iter_seek_for_prev(struct kv_iter *iter, const void *key, size_t key_len); /* last key <= */
void kv_iter_next(struct kv_iter *iter);
void kv_iter_prev(struct kv_iter *iter);
bool kv_iter_valid(const struct kv_iter *iter);
const uint8_t *kv_iter_key(const struct kv_iter *iter, size_t *ret_len);
const uint8_t *kv_iter_value(const struct kv_iter *iter, size_t *ret_len);
/*
 * Of a long scan forward, now and then: if the database waits to be opened anew, the scan steps aside. From here on it sees the database as it is
 * then; key and value are those of before until kv_iter_next().
 */
void kv_iter_make_way(struct kv_iter *iter);
WARN_UNUSED int kv_iter_status(const struct kv_iter *iter); /* after the loop: 0, or why it ended early */

/*
 * A sorted file built outside the database, without compression: for large values. Keys in ascending order; a value is the head and what
 * follows it. Finish makes it durable; ingest moves it in.
 */
WARN_UNUSED int kv_sst_new(struct kv *kv, enum kv_family family, const char *path, struct kv_sst **ret_sst);
WARN_UNUSED int kv_sst_put(struct kv_sst *sst, const void *key, size_t key_len, const void *head, size_t head_len, const void *tail,
			   size_t tail_len);
WARN_UNUSED int kv_sst_finish(struct kv_sst *sst);
void kv_sst_free(struct kv_sst *sst); /* also removes an unfinished or not ingested file */
WARN_UNUSED int kv_ingest(struct kv *kv, struct kv_sst *sst); /* the file is the database's afterwards; -EIO where it takes none */
/*
 * Once RocksDB 7.8 has met a full disk, it goes on by itself when there is room again, but to ingest a file then ends the process: it still
 * believes that it has stopped, takes no number for the file, and has an assertion that there is one. Writes do as well, until it is opened anew.
 */
bool kv_takes_files(struct kv *kv);

/* For the collector: whole files in (first, end) first, then the rest by range. */
WARN_UNUSED int kv_drop_range(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len);

/* What is in memory becomes tables, and the log up to here goes. -EROFS; -ENOSPC: nothing was done. */
WARN_UNUSED int kv_flush(struct kv *kv);
/* Keys, both ends included. */
struct kv_key_range {
	const uint8_t *first, *last;
	size_t first_len, last_len;
};

/* A table file of which something cannot be read. */
#define KV_TABLE_NAME_MAX 32
struct kv_damaged_table {
	enum kv_family family;
	char name[KV_TABLE_NAME_MAX];
	bool missing;
	uint64_t bytes;
	uint64_t blocks, lost; /* blocks of records: that are known, and of these so many that cannot be read */
	bool all_known;        /* false: there may be more of them */
	const struct kv_key_range *ranges; /* where the records lay that cannot be read; none: no records are lost */
	size_t range_count;
};
typedef int (*kv_damaged_table_fn)(void *arg, const struct kv_damaged_table *table);
const char *kv_family_holds(enum kv_family family); /* for people, both */
const char *kv_table_state(bool missing, bool all_known);
/*
 * Reads all tables past the database and the page cache, block by block, but for those of chunks, whose records are verified one by one;
 * `all`: those, too. Both callbacks end it with what is not 0; `step` (or NULL) is told how many bytes were read since.
 */
WARN_UNUSED int kv_each_damaged_table(struct kv *kv, bool all, int (*step)(void *arg, uint64_t bytes), kv_damaged_table_fn each, void *arg);

/* A table file: its keys are in [first, last], some of them may be dead. */
struct kv_table {
	const uint8_t *first, *last;
	size_t first_len, last_len;
	uint64_t bytes;
	uint64_t records, removals; /* removals: that records which older tables may have are gone */
	int level;
};
/* Stops when the callback returns not 0, and returns that. What is in memory is in no table: kv_flush. */
WARN_UNUSED int kv_each_table(struct kv *kv, enum kv_family family, int (*each)(void *arg, const struct kv_table *table), void *arg);
/* Merges the tables of [first, end), so that nothing dead is left there; waits. `bytes`: so much is to be merged, about. -ENOSPC: there is no
 * room for that; nothing was done. */
WARN_UNUSED int kv_compact_range(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len,
				 uint64_t bytes);
/* Writes the tables of the range anew, whatever they are like. They were read whole before. */
WARN_UNUSED int kv_write_anew(struct kv *kv, enum kv_family family, const struct kv_key_range *range);
/* -EBADMSG, of both: something there is damaged; nothing was done. */
/* The same for a whole family, piece by piece, if the tables have many more records than `living`. `stop` is asked between the pieces. */
#define KV_LIVING_UNKNOWN UINT64_MAX
WARN_UNUSED int kv_compact_waste(struct kv *kv, enum kv_family family, uint64_t living, bool (*stop)(void *arg), void *arg);

/*
 * Past the database to the table files, for families whose keys are numbers of 8 bytes and whose values never change (chunks). Any thread;
 * ends before the database does.
 *
 * kv_tables_read: reads the values of `count` keys from `first` on with one read: from the page cache when everything is there, else past
 * it. What it finds is put into values[0..count), pointing into `raw` until that is used again; the rest, whatever the reason, has data
 * NULL and is to be asked of kv_pin. Nothing is verified. Returns how many were found.
 *
 * kv_tables_begin, kv_tables_end: the same in two steps, between which the disk works. False: nothing was begun, since it is in the page
 * cache or nowhere, or since the system has no asynchronous reads. One at a time for each `raw`; kv_raw_clear waits for it.
 */
struct kv_tables;
struct kv_raw {
	uint8_t *bytes;
	size_t cap;
	/* of a read that was begun; for lib/kv only */
	unsigned long context;
	uint64_t first;
	size_t count, skip;
	bool unreadable; /* of kv_tables_read_disk: the disk failed, so that what was not found may be there */
};
struct kv_value {
	const uint8_t *data;
	size_t len;
};
struct kv_tables *kv_tables_new(struct kv *kv, enum kv_family family);
void kv_tables_free(struct kv_tables *tables);
void kv_tables_refresh(struct kv_tables *tables); /* closes files that the engine has removed: their space comes back */
size_t kv_tables_read(struct kv_tables *tables, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values);
/* The same as the disk has it, whatever is in the page cache. */
size_t kv_tables_read_disk(struct kv_tables *tables, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values);
bool kv_tables_begin(struct kv_tables *tables, uint64_t first, size_t count, struct kv_raw *raw);
size_t kv_tables_end(struct kv_raw *raw, struct kv_value *values); /* values[0..count) */
void kv_raw_clear(struct kv_raw *raw);

uint64_t kv_estimate_keys(struct kv *kv, enum kv_family family);
uint64_t kv_room_missing(struct kv *kv); /* what was given up for a full disk, and is to come back: no content may take it */
uint64_t kv_disk_bytes(struct kv *kv, enum kv_family family);
uint64_t kv_total_bytes(struct kv *kv); /* of all families */
uint64_t kv_log_bytes(struct kv *kv);   /* of the write-ahead logs: what is in no table yet is there */

/* Bytes of memory: the block cache; what is to be flushed; indexes and filters of content and of the dedup index, which have no budget. */
struct kv_memory {
	uint64_t cache, cache_budget, memtables, memtables_budget, tables;
};
void kv_memory(struct kv *kv, struct kv_memory *ret_memory);

#endif
