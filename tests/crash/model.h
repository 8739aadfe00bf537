/*
 * What a witness (witness.c) has done to a directory, as a list of operations, and what the directory has in it after each of them.
 *
 * The ledger is a file of struct record. Each operation is written before it is begun, and once more when it has ended, so a ledger that
 * ends with a begun operation is that of a witness whose filesystem went away in the middle. A file's content follows from the numbers in
 * the record. Files are named f0, f1, ..., snapshots s0, s1, ...
 *
 * A file is an object; a name leads to one. After a crash a name may be newer than the content of its object: content is buffered.
 */
#ifndef CORPUSFS_TEST_CRASH_MODEL_H
#define CORPUSFS_TEST_CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

#define FILES 8U
#define SIZE_MAX_OF_FILE (2U << 20)
#define SNAPSHOTS 4U /* at a time */

enum operation {
	ADOPT_FILE,     /* the file was there at the beginning; its content follows the record */
	ADOPT_SNAPSHOT, /* so was the snapshot; the files adopted before are in it, and are forgotten */
	BEGIN,          /* after the adopted */
	WRITE,          /* makes the file if there is none */
	TRUNCATE,
	PUNCH,
	REPLACE, /* by a new file under another name that is renamed */
	UNLINK,
	RENAME,
	SYNC_FILE,
	SYNC_DIRECTORY,
	SNAPSHOT,
	DESTROY,
	ROLLBACK,
};

struct record {
	uint32_t operation;
	bool ended, applied; /* applied: of one that has ended */
	int32_t result;      /* 0 or -errno; of one that has ended */
	uint32_t file, other, snapshot;
	uint64_t offset, length, seed;
};

/* Content: `length` bytes, which depend on nothing but the seed. Some seeds give the same, some compress. */
void content_make(uint64_t seed, uint8_t *out, size_t length);

struct object {
	struct buf content;
	uint64_t durable; /* the last operation after which a sync said that the content is on disk */
	uint64_t over;    /* the operation that put it in place of another file, which commits its content; 0: none */
	bool any;         /* a failure left it with content that nobody knows */
	uint64_t matched[FILES]; /* for a check: the last operation after which it had the content that is found under this name */
	struct object *next;
};

struct snapshot {
	uint32_t number;
	bool there[FILES], any[FILES];
	struct buf content[FILES];
	bool may_be, must_be; /* there, by the last operation on it */
};

struct model {
	struct object *names[FILES]; /* NULL: no such file */
	struct object *objects;      /* all that ever were */
	ARRAY(struct snapshot) snapshots;
	uint64_t position; /* operations so far */
};

/* What the operation does, if it does it. NULL or what was there: `created` is told of an object that is new and empty. */
void model_apply(struct model *model, const struct record *record, void (*created)(void *arg, struct object *object), void *arg);
struct snapshot *model_snapshot(struct model *model, uint32_t number); /* NULL: none */
void model_clear(struct model *model);

#endif
