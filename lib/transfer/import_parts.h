/* What the files of import share: where members go. Not for others. */
#ifndef CORPUSFS_TRANSFER_IMPORT_PARTS_H
#define CORPUSFS_TRANSFER_IMPORT_PARTS_H

#include "lib/transfer/archive_in.h"
#include "lib/transfer/import.h"
#include "lib/tree/content/bulk.h"

#define IMPORT_PIECE (4U << 20) /* big files are read in such pieces; smaller ones whole */

struct done_dir {
	uint64_t ino;
	struct timespec atime, mtime;
};

struct import {
	struct transfer transfer;
	const struct import_options *options;
	struct store *store;
	struct view *view;
	uint64_t root; /* the directory that the source becomes */
	size_t batch_bytes;
	struct archive_in *archive; /* of an archive */
	bool opening;               /* the archive is looked at, by the caller's own thread */

	pthread_mutex_t lock; /* guards the directories */
	struct done_dir *dirs; /* whose times are set when nothing more is made in them */
	size_t dir_count, dir_cap;
};

struct xattrs {
	struct xattr_init *items; /* names and values are owned */
	size_t count;
};
void xattrs_add(struct xattrs *xattrs, const char *name, const void *value, size_t len);
void xattrs_clear(struct xattrs *xattrs);

/* One thing to be imported. The texts are the caller's. */
struct member {
	const char *dir_path, *name; /* for messages; name is the entry's name too */
	uint64_t dir;
	bool dir_existed;            /* there may be something of that name */
	uint32_t mode, uid, gid;
	uint64_t rdev, size;
	struct timespec atime, mtime;
	const char *target;
	struct xattrs xattrs;
};

/* Whether the member may come in at all; if not, its problem was told. Sets its owner. */
WARN_UNUSED bool member_accept(struct import *import, struct member *member);
/* The same is there already; counted as skipped. */
WARN_UNUSED bool member_is_there(struct import *import, const struct member *member);

/* A directory of that name, made if needed. 0, or its problem was told. */
WARN_UNUSED int import_directory(struct import *import, const struct member *member, uint64_t *ret_ino, bool *ret_existed);
/* Sets what a directory has beside its name on one that is there. */
void import_directory_attributes(struct import *import, const struct member *member, uint64_t ino);
void import_directory_done(struct import *import, uint64_t ino, struct timespec atime, struct timespec mtime);
/* A second name for what `from` is. */
void import_link(struct import *import, const struct member *member, uint64_t from_dir, const char *from_name);

/* --- small files, gathered. One thread. --- */
struct batch;
struct batch *batch_new(struct import *import);
void batch_free(struct batch *batch);
/* Room for `len` bytes of the next member's content, flushing if needed; NULL: the import was stopped, or more than a batch holds. */
uint8_t *batch_room(struct batch *batch, size_t len);
/* The member, with the first `len` bytes of the room; takes over its xattrs. */
void batch_add(struct batch *batch, struct member *member, size_t len);
bool batch_is_full(const struct batch *batch); /* no member of average size would find room */
/* Adds what was gathered, also when the import was stopped by a damaged archive: members that were read wholly stay. */
void batch_flush(struct batch *batch);

/* --- big files: begin, inode_write..., end. One thread each. --- */
WARN_UNUSED int stream_begin(struct import *import, const struct member *member, struct inode **ret_inode);
/* `result` not 0: the file is given up, silently. */
void stream_end(struct import *import, const struct member *member, struct inode *inode, int result);

/* --- outside of the store --- */
/* Of an open file, or by path when fd is negative. What may not be listed or read is not ours to take over. */
void source_xattrs(const char *path, int fd, struct xattrs *xattrs);
/* Up to len bytes; less at the end of the file; -errno. */
WARN_UNUSED ssize_t source_read(int fd, uint8_t *out, size_t len, off_t offset);
/* Adds the sizes of all files below a directory to the total. */
void source_count(struct transfer *transfer, int dir_fd, const char *name);

/* --- the two sources --- */
void import_tree(struct import *import, int fd);
WARN_UNUSED int import_archive_open(struct import *import, int fd, struct error *err); /* is it one? Nothing was done yet */
void import_archive(struct import *import, int fd);

#endif
