/*
 * The journal of what was accepted and is not committed yet, in memory that outlives the process. Internal to lib/tree, but for journal_new.
 *
 * A record tells one change of one inode: bytes that were written, or what else is changed in memory only (a length, times), or what undoes
 * earlier records (a shorter length, a range that was committed by other means). Names, links and attributes need none: each is one batch in
 * the log of the database, which the page cache keeps when a process dies.
 *
 *   J1  A change is answered after its record is counted (journal_count): under the inode's lock, in the order of the changes.
 *   J2  A record is forgotten when the batch with its change is written, before the inode's lock is given up, and older records of the inode
 *       before younger ones. So what is there of an inode is always the end of its history, but for J5.
 *   J3  What changes committed content past the buffer has a record if there are older ones. A shorter length is counted before its batch is
 *       written: a crash between the two does it in the journal only, and to do it wholly is right. A range that is punched or copied to is
 *       counted after its batch, before the inode's lock is given up: a crash between the two does it but for bytes that were buffered
 *       there, which somebody may have been answered. Counted before, it would drop them, and nothing would be in their place. Either was
 *       not answered itself, and is asked again by who still lives. So the batch of a shorter length is written before that of any range that
 *       is counted later, and replay does not cut what is committed once more: the range may lie behind it.
 *   J4  A record may be moved (journal_move_apart) and keeps its number, so its place in the order. A crash between the copy and the
 *       forgetting leaves it twice, one right after the other, and to do each kind twice is to do it once.
 *   J5  Of changes of length that follow one another only two stay, the shortest and the last, and of times only the last: these say all. So
 *       whoever sets times or lengths again and again takes no more of the journal with each turn, however long the file cannot be
 *       committed. The older one is forgotten when the change of the younger is made; a crash between the two leaves both.
 *
 * Replaying the records of an inode in their order over any state that is as old as the first of them, or younger, gives the state after
 * the last: whoever wrote a byte last has it in the end, and a byte that no record has is as it was committed.
 *
 * Why memory and not a file in the page cache: write(2) to a file costs a second copy as this does, and in addition the locks of the
 * filesystem, blocks to allocate, and write-back of each byte within 30 seconds: all data would go to the disk twice. The file would
 * outlive the supervisor, too; but the supervisor does next to nothing, so it hardly ever dies but with the machine.
 *
 * The memory is cut into segments, filled one after the other. A segment is free again when all its records are forgotten; the one that
 * became free last is taken first, so no more memory is touched than was needed at once; and what nobody has needed for a while is given
 * back (journal_give_back). A file that cannot be committed keeps its records, and few of them could keep all segments from the others:
 * so they are moved together, into segments of such files. Where the system has none for a segment, writers wait
 * for others to be free, as when all are in use; and where nothing is buffered that could be committed, they get -ENOMEM.
 *
 * Threads: any, each record in one at a time. The lock is a leaf.
 */
#ifndef CORPUSFS_TREE_INODES_JOURNAL_H
#define CORPUSFS_TREE_INODES_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/base/error.h"

#define JOURNAL_DATA_MAX (1U << 20) /* of one record */

enum journal_kind {
	JOURNAL_WRITE = 1, /* bytes at an offset */
	JOURNAL_TRUNCATE,  /* the length is `offset`; what lies beyond is gone */
	JOURNAL_EXTEND,    /* the length is `offset` at least */
	JOURNAL_DISCARD,   /* of [offset, offset+len) the committed content counts, not what was written before */
	JOURNAL_TIMES,     /* nothing but the times, which every record has */
};

/* In the memory; what is behind it follows, then the next one, at a multiple of 64 bytes. */
struct journal_record {
	_Atomic uint64_t number; /* ever growing; 0: not counted yet, or forgotten */
	uint64_t ino, offset, len;
	uint32_t kind, view;
	uint64_t size;           /* of the whole record */
	struct timespec atime, mtime, ctime; /* of the inode, after the change */
};

struct journal;

size_t journal_memory(uint64_t write_buffer_bytes); /* how much memory a journal for so large a buffer needs; it may be sparse */
/* The memory is zeros, or what an earlier journal left in it. -EBADMSG: it is neither; -ENOMEM */
WARN_UNUSED int journal_new(void *memory, size_t size, struct journal **ret_journal);
void journal_free(struct journal *journal); /* the memory stays; NULL is fine */

/* Room for a record with `len` bytes, which the caller fills in by journal_data(). NULL: there is none now; for what has no bytes there nearly always is. */
struct journal_record *journal_take(struct journal *journal, size_t len);
bool journal_is_starved(struct journal *journal); /* there was none for the last one because the system has no memory */
uint8_t *journal_data(struct journal_record *record);
void journal_count(struct journal *journal, struct journal_record *record); /* kind, view, ino, offset, len and times are set */
void journal_forget(struct journal *journal, struct journal_record *record); /* counted or not */

/*
 * A counted record of a file that cannot be committed goes where it keeps no segment from other files. Where it is from now on: the same place,
 * if there is no room or it was moved before. Caller holds the inode's lock.
 */
WARN_UNUSED struct journal_record *journal_move_apart(struct journal *journal, struct journal_record *record);

/* The system gets the memory of segments that are free, and were all the time since the last call. */
void journal_give_back(struct journal *journal);

/* What an earlier journal left in the memory, in order; the array and the records are the caller's. */
struct journal_record **journal_left(struct journal *journal, size_t *ret_count);

#endif
