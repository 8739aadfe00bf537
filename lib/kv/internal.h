/* What the files of lib/kv share. Nobody else includes this. */
#ifndef CORPUSFS_KV_INTERNAL_H
#define CORPUSFS_KV_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <rocksdb/c.h>

#include "lib/kv/ballast.h"
#include "lib/kv/kv.h"
#include "lib/kv/manifest_copy.h"
#include "lib/kv/synced.h"

#define KV_TABLE_BLOCK 1024U /* of chunks: a larger value has a block of its own */
#define KV_HANDLE_COUNT (KV_FAMILY_COUNT + 1) /* RocksDB insists on "default", which stays empty */

struct kv_setup {
	rocksdb_options_t *db;
	rocksdb_options_t *families[KV_HANDLE_COUNT]; /* the last one is "default" */
	rocksdb_cache_t *cache; /* of metadata */
	rocksdb_cache_t *pins;  /* of chunks while they are read */
	uint64_t memtable_bytes, log_limit, log_part; /* see kv_open, struct ballast_options */
};

struct kv {
	rocksdb_t *db;
	char *path, *shown; /* the same, as people know it */
	bool read_only;
	int (*check)(void *arg, bool now); /* see kv.h */
	void *check_arg;
	atomic_uint_fast64_t unsynced_since_ms; /* 0: nothing */
	atomic_bool taken;       /* check has said that the database is another process's */
	rocksdb_column_family_handle_t *handles[KV_HANDLE_COUNT];
	struct kv_setup setup;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_writeoptions_t *write_sync;
	struct ballast *ballast;
	char *damage_mark; /* NULL: none */
	pthread_mutex_t damage_lock; /* held while the mark is written; guards changes of `damaged`, and met */
	atomic_int damaged;          /* enum kv_damage */
	enum kv_damage met;          /* since kv_tables_look() */
	char *lost;                       /* see kv_lost */
	char *log_dir;                    /* RocksDB's log is in it; usually gone when the database is open */
	struct synced *synced;            /* NULL: read-only */
	struct manifest_copy *manifest;   /* NULL: there is none */
	atomic_uint_fast64_t written;     /* bytes of batches, since it was opened */
	atomic_uint_fast64_t in_log;      /* the log has a change of this number or of a later one */
	atomic_uint_fast64_t ingested;    /* up to here a change may have come with a file, and be in no log */
	atomic_uint ingesting;
	atomic_uint inside;              /* see inside.h; both */
	atomic_bool wanted;
	pthread_mutex_t inside_lock;           /* a leaf */
	pthread_cond_t let_in;
	pthread_mutex_t reopen_lock;     /* held by who opens it anew; guards reopen_after_ms */
	uint64_t reopen_after_ms;
	atomic_uint opened;              /* so many times it was opened anew */
	atomic_bool stopped_by_damage;   /* RocksDB has refused a change because a merge has met damage; see reopen.h */
	atomic_uint log_suspect;         /* changes that failed: while there are any, the log is touched only through RocksDB's own check (kv_sync) */
	atomic_bool was_full;            /* RocksDB has met a full disk: see kv_takes_files */
	pthread_mutex_t mutex;           /* guards all below */
	char message[KV_MESSAGE_MAX];
	char damage[KV_MESSAGE_MAX];     /* the last message of damage; "": none */
	bool damage_new;                 /* nobody was told of it */
};

extern const char *const kv_family_names[KV_HANDLE_COUNT];

/* Options of the database and of each column family; `memtable_bytes` and so on as in kv_open. */
void kv_setup_init(struct kv_setup *setup, const struct kv_options *options, const char *path);
void kv_setup_accept_tables(struct kv_setup *setup); /* that are missing or short: reading them fails, opening does not */
void kv_setup_clear(struct kv_setup *setup);

/* The number that a key of 8 bytes stands for. */
static inline uint64_t kv_number_of(const void *key, size_t len)
{
	struct reader reader = reader_over(key, len);

	return read_be64(&reader);
}

/* The errno that RocksDB's message stands for. */
int kv_errno(const char *message);

void kv_note_unsynced(struct kv *kv); /* after a batch was written */

uint64_t kv_unflushed(struct kv *kv); /* bytes of memory that the next flush writes */

/* Who may take how much of what is kept for a full disk (lib/kv/ballast.h): nothing, most of it, all. */
enum kv_need { KV_BRINGS_CONTENT, KV_CHANGES, KV_GIVES_BACK };

/* 0 when there is room for a batch of so many bytes; -ENOSPC. */
WARN_UNUSED int kv_admit_room(struct kv *kv, uint64_t bytes, enum kv_need need);
/* The same for new files of so many bytes, and what is in memory as well; after 0 comes ballast_files_end(). */
WARN_UNUSED int kv_admit_files(struct kv *kv, uint64_t bytes);

/* 0 when the database may be written. */
WARN_UNUSED int kv_admit(struct kv *kv, bool now);

static inline void kv_raise(atomic_uint_fast64_t *number, uint64_t to)
{
	uint64_t before = atomic_load(number);

	while (before < to && !atomic_compare_exchange_weak(number, &before, to))
		;
}

/* What a sync that begins now will have brought to the disk, for kv_synced() when it has succeeded. */
struct kv_promise {
	uint64_t look, sequence;
};
struct kv_promise kv_before_sync(struct kv *kv);
void kv_synced(struct kv *kv, struct kv_promise promise);
uint64_t kv_last_sequence(struct kv *kv);

/* 0 if there is no message; else keeps and frees it and returns its errno. */
int kv_result(struct kv *kv, char *message);
int kv_result_of(struct kv *kv, enum kv_family family, char *message); /* the same of what was read in one family */
/* The same, of a call that changes the database. The caller is still inside (RO1): what is noted is of the database that has answered. */
int kv_change_result(struct kv *kv, char *message);

#endif
