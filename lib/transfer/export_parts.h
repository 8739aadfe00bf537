/* What the files of export share: reading what is to be given out. Not for others. */
#ifndef CORPUSFS_TRANSFER_EXPORT_PARTS_H
#define CORPUSFS_TRANSFER_EXPORT_PARTS_H

#include "lib/transfer/archive_out.h"
#include "lib/transfer/export.h"

#define EXPORT_PIECE (1U << 20)

struct export {
	struct transfer transfer;
	const struct export_options *options;
	struct store *store;
	struct view *view;
	struct attr top;
};

/* The names in a directory; owned. */
struct names {
	struct name {
		char *text;
		uint64_t ino;
	} *items;
	size_t count, cap;
};
WARN_UNUSED int names_load(struct export *export, uint64_t dir, struct names *names);
void names_clear(struct names *names);

/* What belongs to an inode beside its attributes and content. */
struct extras {
	struct archive_pair *xattrs; /* owned */
	size_t xattr_count;
	struct archive_stretch *data; /* of a file with holes: where it has data; owned */
	size_t data_count, data_cap;
	bool has_holes;
	struct buf target; /* of a symlink */
};
WARN_UNUSED int extras_load(struct export *export, const struct attr *attr, struct extras *extras);
void extras_clear(struct extras *extras);

/* The content of an open file, in pieces, ascending; only where it has data. */
typedef int (*content_fn)(void *arg, const void *data, size_t len, uint64_t offset);
WARN_UNUSED int content_read(struct export *export, struct inode *inode, uint64_t size, const struct extras *extras, uint8_t *piece,
			     content_fn each, void *arg);

/* --- the two targets --- */
WARN_UNUSED int export_tree(struct export *export, struct error *err);
WARN_UNUSED int export_archive(struct export *export, struct error *err);

#endif
