/*
 * A store of whole objects, which a repository is kept in: put once, never changed, read by ranges, listed, removed. The one interface that
 * a directory, S3 and restic's REST protocol stand behind (objects_open.h).
 *
 * Kinds and names: OBJECT_CONFIG has one object, whose name is ""; names of all other kinds are 64 hexadecimal digits (blob_id.h). OBJECT_HEAD and
 * OBJECT_HOLD are not restic's: restic never looks into those folders, which are made when they are needed.
 *
 * Errors: -ENOENT there is none of that name; -EEXIST it is there already; -EACCES, -EROFS, -ENOSPC, -EIO and what else the place says.
 * Threads: any; calls may be made at once.
 */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_H
#define CORPUSFS_REPOSITORY_OBJECTS_H

#include <stdbool.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

enum object_kind { OBJECT_CONFIG, OBJECT_KEY, OBJECT_SNAPSHOT, OBJECT_INDEX, OBJECT_PACK, OBJECT_LOCK, OBJECT_HEAD, OBJECT_HOLD };
#define OBJECT_KINDS (OBJECT_HOLD + 1)

#define OBJECT_FOLDER_TEXT 16

struct objects;

typedef int (*objects_list_fn)(void *arg, const char *name, uint64_t size);

/* What writers that died have left: objects that were begun and never put. Younger ones may be a living writer's. */
#define OBJECTS_LEFT_AGE_S (24 * 60 * 60)
struct objects_left {
	uint64_t count, bytes;
};

/* What a place must be able to do. */
struct objects_place {
	/* Makes what must be there before anything is put. 0 also when it is there. */
	int (*create)(struct objects *objects);
	/*
	 * The object is there whole and for good when it returns 0, or not at all. -ENOTRECOVERABLE: readers find it, but nobody knows whether a
	 * crash leaves it.
	 */
	int (*put)(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len);
	/*
	 * The same where the place itself decides that there is none of that name yet, so that of several who put one at once a single one
	 * succeeds (objects_conditional.h finds out whether it does). NULL: it cannot. -EEXIST also when an answer was lost and it is ours: who
	 * must know reads it.
	 */
	int (*put_new)(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len);
	/* Whether heads are put so that writers are kept apart: 0, or why nothing can be put. NULL: it is to be tried out. */
	int (*keeps_apart)(struct objects *objects);
	/* Says in words why the last call failed with this code; false: it has none. NULL: it never has. */
	bool (*explain)(struct objects *objects, int code, struct error *err);
	/* What time it is there, to the second. NULL: it has no clock of its own. */
	int (*clock)(struct objects *objects, struct timespec *ret_now);
	/* Exactly len bytes from the offset; -EIO: it is shorter. Long ones are cheapest where direct_can_read(): lib/base/direct_file.h. */
	int (*get)(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out);
	int (*size)(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size);
	/* In no order. What `each` returns, if not 0, ends it. What has no name of an object is passed over. */
	int (*list)(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg);
	/* The same of those alone whose names begin so. NULL: all are listed, and the others passed over. */
	int (*list_some)(struct objects *objects, enum object_kind kind, const char *begin, objects_list_fn each, void *arg);
	int (*remove)(struct objects *objects, enum object_kind kind, const char *name);
	/* How many requests were sent a second time, since their answers were late (hedge.h). NULL: none ever is. */
	uint64_t (*sent_again)(struct objects *objects);
	/* Whether readers may find the first bytes of an object while the rest of it comes. NULL: never. */
	bool (*shows_beginnings)(struct objects *objects);
	/* Whether a folder that is missing looks like an empty one. NULL: never; to list it is -ENOENT. */
	bool (*hides_missing)(struct objects *objects);
	/*
	 * Packs stand in several folders, of which one that is missing looks like an empty one. -errno: one of them is missing or cannot be opened, and which
	 * ("data/3f"). NULL: nobody can tell.
	 */
	int (*check_pack_folders)(struct objects *objects, char ret_folder[OBJECT_FOLDER_TEXT]);
	/* May be NULL: nothing is ever left half put. See objects_clean. */
	int (*clean)(struct objects *objects, time_t before, bool dry_run, struct objects_left *ret_left);
	void (*close)(struct objects *objects);
};

/* The first member of what a place keeps of itself. */
struct objects {
	const struct objects_place *place;
};

/* A directory, in restic's layout. Takes over the descriptor, which is used for all that is done in it. */
struct objects *objects_dir_open(int dir);

void objects_close(struct objects *objects); /* NULL is fine */

/*
 * Counts what was begun and never put, and to which nothing was written since `before`, and removes it unless `dry_run`. What is younger may
 * be a living writer's.
 */
WARN_UNUSED int objects_clean(struct objects *objects, time_t before, bool dry_run, struct objects_left *ret_left);

/* As list, of those whose names begin so, with as few questions as the place allows. */
WARN_UNUSED int objects_list_some(struct objects *objects, enum object_kind kind, const char *begin, objects_list_fn each, void *arg);

bool objects_hides_missing(struct objects *objects);

/* 0 also where nobody can tell. */
WARN_UNUSED int objects_check_pack_folders(struct objects *objects, char ret_folder[OBJECT_FOLDER_TEXT]);

uint64_t objects_sent_again(struct objects *objects);

/* Of an error: nobody answers there, or nobody who could; else it is an answer, or one of our own failures. */
bool objects_is_away(int code);

/* After a call failed: "WHAT: why", in the words of the place, if it has any. Returns `code`. */
int objects_failed(struct objects *objects, int code, const char *what, struct error *err);

/* Whether the folder of the kind is made when something is put there: until then there is none, and nothing is in it. */
bool object_folder_comes_later(enum object_kind kind);
/* What `kind` is called in messages: "pack", "index file", ... */
const char *object_kind_text(enum object_kind kind);
/* The folder of restic's layout that objects of the kind stand in: "keys", "data", ...; of the config "". */
const char *object_folder(enum object_kind kind);

/* After an object could not be put: says so, and what to do. Returns `code`. */
int objects_put_failed(enum object_kind kind, int code, struct error *err);

/* The whole object, at most `limit` bytes (-EFBIG). */
WARN_UNUSED int objects_get_whole(struct objects *objects, enum object_kind kind, const char *name, size_t limit, struct buf *ret_content);

/*
 * The same of what is named by the SHA-256 of its bytes. -EBADMSG: it is something else. What is still being written is waited for, as long as it
 * grows.
 */
WARN_UNUSED int objects_get_named(struct objects *objects, enum object_kind kind, const char *name, size_t limit, struct buf *ret_content);

#endif
