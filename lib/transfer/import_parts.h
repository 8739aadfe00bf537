/*
 * What the files of import share. Not for others. They stand in this order, each needs those before it:
 *
 *   import_attributes   which extended attributes and ACLs may come in
 *   import_member       one thing that comes in: what it is, whether it is there, directories, links
 *   import_file         its content: small files many at a time, big ones by themselves
 *   import_source       reading what is outside of the store
 *   source_walk         from directory to directory of a source
 *   import_copy, import_tree       a directory as a source: its workers, and the whole
 *   import_place, import_apply, import_archive   an archive as a source: where its names lead, what its members do, and the whole
 *   import              the target, the source, the end
 */
#ifndef CORPUSFS_TRANSFER_IMPORT_PARTS_H
#define CORPUSFS_TRANSFER_IMPORT_PARTS_H

#include "lib/base/array.h"
#include "lib/transfer/archive_in.h"
#include "lib/transfer/big_names.h"
#include "lib/transfer/import.h"
#include "lib/transfer/trail.h"
#include "lib/tree/files/bulk.h"

#define IMPORT_PIECE BIG_FILE /* big files are read in such pieces; smaller ones whole */
#define MADE_MODE 0755          /* of directories on the way to something, and of a dataset */

struct done_dir {
	uint64_t ino;
	struct timespec atime, mtime;
};

struct left_out; /* attributes that did not come in, by their names */

struct import {
	struct transfer transfer;
	const struct import_options *options;
	struct store *store;
	struct view *view;
	uint64_t root; /* the directory that the source becomes */
	size_t batch_bytes;
	bool is_archive;
	struct archive_in *archive; /* of an archive */
	bool opening;               /* the archive is looked at, by the caller's own thread */
	uint64_t told_ms;           /* when that was told last */
	struct acl_names *acl_names; /* of who reads the archive */

	atomic_int source_failure; /* what was read before the source failed is added all the same; 0: it has not */

	/* What was there before: it has a lower number, and was not changed since. */
	uint64_t first_new;
	struct timespec began;

	pthread_mutex_t lock;         /* guards what follows */
	ARRAY(struct done_dir) dirs;  /* whose times are set when nothing more is made in them */
	struct left_out *left_out;
};

struct xattrs {
	ARRAY_FIELDS(struct xattr_init); /* names and values are owned */
};
void xattrs_clear(struct xattrs *xattrs);

/* One thing to be imported. The texts are the caller's. */
struct member {
	struct trail *trail; /* where it stands in the source; not owned */
	const char *name;    /* also the entry's name */
	uint64_t dir;
	bool dir_existed; /* there may be something of that name */
	uint32_t mode, uid, gid;
	uint64_t rdev, size;
	struct timespec atime, mtime;
	const char *target;
	struct xattrs xattrs;
};

/* --- attributes (import_attributes.c) --- */
/* The mode must be known. What may not come in is left out and counted; an access ACL becomes a part of the mode. */
void member_add_xattr(struct import *import, struct member *member, const char *name, const void *value, size_t len);
/* As text; name: ACL_ACCESS or ACL_DEFAULT. */
void member_add_acl(struct import *import, struct member *member, const char *name, const char *text);
void member_leave_out(struct import *import, const struct member *member, const char *name, const char *why);
void member_note_left_out(struct import *import, const struct member *member, const char *name, const char *why); /* which is no problem */
void member_count_acl(struct import *import, const struct member *member); /* when it has all attributes */
/* Tells what was left out, an attribute a line. */
void import_tell_left_out(struct import *import);

/* --- members (import_member.c) --- */
void member_problem(struct import *import, const struct member *member, int code, const char *text);
/* A result of the store that concerns the member, or everything: transfer_store_result. */
void member_result(struct import *import, const struct member *member, int code);
/* In the root of a dataset the name leads to its snapshots, and a real one could neither be entered nor removed. Below, it is a name like others. */
#define IMPORT_RESERVED ".snapshots"
#define IMPORT_RESERVED_TEXT "the name belongs to the dataset's snapshots"
/* Who owns it: what a user imports is his. */
void member_own(struct import *import, struct member *member);
/* Whether the member may come in at all; if not, its problem was told. Sets its owner. */
WARN_UNUSED bool member_accept(struct import *import, struct member *member);
/* The same was there before the import began. */
WARN_UNUSED bool member_is_there(struct import *import, const struct member *member, struct attr *ret_attr);
void member_skipped(struct import *import, const struct attr *attr);
/* Whether the inode has the attribute, with this value. */
WARN_UNUSED bool member_has_xattr(struct import *import, uint64_t ino, const struct xattr_init *xattr);

/* The mounts are told that the name stands for something else (with "", that the inode changed), in place of an inode or 0. */
void import_changed(struct import *import, uint64_t dir, const char *name, uint64_t replaced);

/* A new directory of that name: 0, -EEXIST, or its problem was told. */
WARN_UNUSED int import_directory(struct import *import, const struct member *member, uint64_t *ret_ino);
/* Sets what a directory has beside its name on one that is there. */
void import_directory_attributes(struct import *import, const struct member *member, uint64_t ino);
void import_directory_done(struct import *import, uint64_t ino, const struct member *member);
void import_set_directory_times(struct import *import);
/* A name for an inode. What gives way is as with view_link_over; in an archive also an empty directory. */
WARN_UNUSED int import_link_over(struct import *import, const struct member *member, uint64_t ino);
/* The same for a second name, counted, its problem told. */
void import_link(struct import *import, const struct member *member, uint64_t ino);
/* The directory of that name gives way to the member, if it is empty: 0, -ENOTEMPTY. */
WARN_UNUSED int import_remove_directory(struct import *import, const struct member *member);

/* --- content (import_file.c) --- */

/*
 * Members that are added together. What `data` points to must be good until the batch is flushed. Within a batch no name may stand
 * twice; of an archive, whose members have an order, batch_find tells.
 */
struct batch;
struct batch *batch_new(struct import *import);
void batch_free(struct batch *batch); /* must be empty */
/* Takes over the xattrs. */
void batch_add(struct batch *batch, struct member *member, const void *data, size_t len);
/* A link to a member of the batch, by the number that batch_find gave. */
void batch_add_link(struct batch *batch, const struct member *member, size_t number);
/* Whether it holds the name; its number, of a link the number of what it links to. */
bool batch_find(const struct batch *batch, uint64_t dir, const char *name, size_t *ret_number);
/*
 * Of an archive, names whose member did not come in: what stands under such a name is not what a later link means. A member of that name
 * that comes has another chance.
 */
void batch_note_missed(struct batch *batch, const struct member *member, bool is_missed);
bool batch_has_missed(const struct batch *batch, uint64_t dir, const char *name);
bool batch_is_full(const struct batch *batch);
void batch_flush(struct batch *batch); /* adds what was gathered, if import_may_add */
/* False: the import was stopped, and not by its source, whose members that were read wholly still come in. */
bool import_may_add(struct import *import);

/* Memory for content that waits in a batch, counted in the write buffer's budget. One thread. */
struct room {
	struct import *import;
	uint8_t *data;
	size_t used, size;
	bool reserved;
};
WARN_UNUSED int room_init(struct room *room, struct import *import); /* -ENOMEM, with which the import has failed */
void room_clear(struct room *room);
bool room_has(const struct room *room, size_t len);
/* NULL: the import was stopped. Only if room_has. */
uint8_t *room_take(struct room *room, size_t len);
void room_reset(struct room *room);

/* A big file: begin, inode_write..., end. One thread. */
WARN_UNUSED int stream_begin(struct import *import, const struct member *member, struct inode **ret_inode);
/* `result` not 0: the file is given up, silently. Whether it came in. */
bool stream_end(struct import *import, const struct member *member, struct inode *inode, int result);

/* --- outside of the store (import_source.c) --- */
/* Of an open file, or by path when fd is negative. What may not be listed or read is not ours to take over. */
void source_xattrs(struct import *import, struct member *member, const char *path, int fd);
/*
 * Up to len bytes; less at the end of the file; -errno. `out` has room for source_room(len). Where it and the offset are multiples of
 * SOURCE_ALIGNMENT, content that is not in memory does not go through the page cache.
 */
#define SOURCE_ALIGNMENT ((size_t)4096)
static inline size_t source_room(size_t len)
{
	return (len + SOURCE_ALIGNMENT - 1) & ~(SOURCE_ALIGNMENT - 1);
}
WARN_UNUSED ssize_t source_read(int fd, uint8_t *out, size_t len, off_t offset);

/* --- the two sources --- */
void import_tree(struct import *import, int fd);
WARN_UNUSED int import_archive_open(struct import *import, int fd, struct error *err); /* is it one? Nothing was done yet */
void import_archive(struct import *import);

#endif
