/*
 * The file SYNCED of a database: how much of its logs and of its manifest was on disk when somebody was told so. When a log ends early,
 * this is what tells a torn tail, which a power cut leaves and nobody was promised, from damage. RocksDB has no such knowledge: it
 * replays a log up to the first record that is not whole, and calls what comes before it the database.
 *
 *   file = 2 slots of 4,096 bytes, written in turns; the one that is whole and has the higher count is the newer
 *   slot = u32 CRC-32C of what follows | u32 length of what follows after it | u64 count | u64 manifest, u64 its bytes |
 *          u64 sequence | u64 log | i64 s: when | u32 n | n x (u64 log, u64 bytes)            all little-endian
 *
 * S1. What a slot says was on disk before it was written.
 * S2. `sequence` is of a change in the log `log` or in a later one. Where no log up to `log` is needed any more, the change is in a table, and the
 *     slot says nothing of the logs after it. So `log` is the latest for which this is known. Where the old log has grown so much that nobody
 *     looks for a new one at once, the next synced_keep() finds it.
 * S3. The logs that it lists are closed; all of their bytes were on disk.
 * S4. Who was told that a change of his is on disk finds it at or below `sequence`.
 *
 * Writing a slot is one pwrite of some hundred bytes into the page cache. A killed process leaves it right; after a power cut it is as
 * old as the last synced_keep(), and says too little, never too much.
 *
 *   synced_read       what the last owner left
 *   synced_open       after RocksDB has opened the database for writing
 *   synced_look       before each sync of the log
 *   synced_note       after it succeeded
 *   synced_keep       from time to time
 *
 * Internal to lib/kv. Any thread, but for synced_open and synced_close.
 */
#ifndef CORPUSFS_KV_SYNCED_H
#define CORPUSFS_KV_SYNCED_H

#include <stdint.h>

#include "lib/base/array.h"
#include "lib/base/clean.h"

#define SYNCED_NAME "SYNCED"

struct synced_log {
	uint64_t number, bytes;
};

struct synced_state {
	uint64_t count;
	uint64_t manifest, manifest_bytes; /* 0: nothing is known of it */
	uint64_t sequence, log;            /* 0: nothing was synced yet */
	int64_t time;
	ARRAY(struct synced_log) closed;
};

struct synced;

/* `dir` is a descriptor. -ENOENT: there is no such file; -EBADMSG: it is damaged. The caller frees state.closed. */
WARN_UNUSED int synced_read(int dir, struct synced_state *ret_state);

/* `path` is the database's directory, `sequence` that of its last change. Writes the file anew. */
WARN_UNUSED int synced_open(const char *path, uint64_t sequence, struct synced **ret_synced);
/* Instead: nothing is known, and nothing missed. */
WARN_UNUSED int synced_forget(const char *path);
void synced_close(struct synced *synced); /* NULL is fine */

/*
 * `written`: bytes of keys and values that were written since synced_open, not more than are in the logs. When files came to the directory,
 * and the newest log has not grown by as many bytes, one of them is a newer log. Returns what synced_note() wants to know of this look.
 */
WARN_UNUSED uint64_t synced_look(struct synced *synced, uint64_t written);
/* `sequence`: all changes up to this number are on disk, in the logs or in tables, and the log has or had one of this number. */
void synced_note(struct synced *synced, uint64_t look, uint64_t written, uint64_t sequence);

/* Brings what was noted to the disk, if it has changed since. */
WARN_UNUSED int synced_keep(struct synced *synced);

#endif
