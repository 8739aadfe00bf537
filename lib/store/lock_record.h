/*
 * The record in which the user of a store says who he is, for those whom flock(2) does not keep out (lock.c says when that is). A file
 * STORE/owner.WORD of two blocks of 4,096 bytes, filled up with zeros; a block is written and read by one call, and on filesystems that
 * several hosts may share past every cache.
 *
 *   first block           word 5f2a9c31b08e7d44        16 hex digits, random, the same as in the file's name
 *                         host node7                   for people
 *                         machine 0f1e...              /etc/machine-id, empty if there is none
 *                         boot 7c0e...                 /proc/sys/kernel/random/boot_id
 *                         pid-namespace 4026531836     in which the pid counts; 0: not known
 *                         pid 4711
 *                         started 123456               of the process, in clock ticks after the boot
 *                         file 8:1 1234                device and inode of STORE/lock, as this process sees them
 *                         local 1                      0: the filesystem may be shared with other hosts
 *                         command corpusfsd
 *                         end 5f2a9c31b08e7d44         the word again: the block is whole
 *   second block          beat 17                      grows while the process lives
 *
 * Internal to lib/store. Any thread.
 */
#ifndef CORPUSFS_STORE_LOCK_RECORD_H
#define CORPUSFS_STORE_LOCK_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/array.h"
#include "lib/base/procfs.h"

#define LOCK_WORD_LEN 16
#define LOCK_RECORD_PREFIX "owner."
#define LOCK_RECORD_NAME_MAX 32
#define LOCK_RECORD_FREE LOCK_RECORD_PREFIX "free" /* nobody's */

struct lock_record {
	char word[LOCK_WORD_LEN + 1];
	char host[65], machine[33], boot[PROCFS_BOOT_MAX], command[17];
	uint64_t pid_namespace, started;
	pid_t pid;
	uint64_t device, inode;
	bool local;
};

/* What this process would write, with a word of its own. `lock_fd` is STORE/lock. */
WARN_UNUSED int lock_record_of_us(int lock_fd, struct lock_record *ret_record);

/* The names of the records in a directory, sorted: who take the store at once must want the same file. AUTO_ARRAY. */
struct lock_record_name {
	char text[LOCK_RECORD_NAME_MAX];
};
struct lock_records {
	ARRAY_FIELDS(struct lock_record_name);
};
WARN_UNUSED int lock_records_list(int dir, struct lock_records *ret_names);

/* The file of that name in the directory, open for the two functions below. Flags of open(2): O_RDWR, and O_CREAT | O_EXCL. */
WARN_UNUSED int lock_record_open(int dir, const char *name, int flags, bool local);
/* All of it as it is, or as it was: `bytes` has LOCK_RECORD_LEN. */
#define LOCK_RECORD_LEN 8192
WARN_UNUSED int lock_record_save(int fd, char *ret_bytes);
WARN_UNUSED int lock_record_restore(int fd, const char *bytes);
WARN_UNUSED int lock_record_write(int fd, const struct lock_record *record);
WARN_UNUSED int lock_record_write_beat(int fd, uint64_t beat);

/* -ENOENT; -EBADMSG: not whole. */
WARN_UNUSED int lock_record_read(int dir, const char *name, bool local, struct lock_record *ret_record, uint64_t *ret_beat);
/* Whether the record still has this word: 0, -ESTALE. Reads through the open file, or on a shared filesystem opens it anew. */
WARN_UNUSED int lock_record_check(int fd, int dir, const char *name, const struct lock_record *record);

/*
 * Whether the living process that wrote the record has another file open than the one of that name here: 1, 0, or a negative errno when
 * it cannot be told (it belongs to another user, say; -EAGAIN: others write there all the time). Changes the beat.
 */
WARN_UNUSED int lock_record_is_copy(int dir, const char *name, bool local, const struct lock_record *record);

/* What is certain about the process that wrote a record, without waiting for its beat. */
enum lock_writer {
	LOCK_WRITER_DEAD,    /* it is gone */
	LOCK_WRITER_RUNS,    /* a process with its pid and its time of start runs on this system */
	LOCK_WRITER_STOPPED, /* the same, and it is stopped: it cannot let its record beat */
	LOCK_WRITER_UNKNOWN, /* it runs on another host, or where its pid means nothing to us */
};
/* `us` holds flock on STORE/lock. */
enum lock_writer lock_record_writer(const struct lock_record *record, const struct lock_record *us);

#endif
