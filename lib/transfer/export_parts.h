/* What the two targets of an export share: reading what is to be given out. Not for others. */
#ifndef CORPUSFS_TRANSFER_EXPORT_PARTS_H
#define CORPUSFS_TRANSFER_EXPORT_PARTS_H

#include "lib/base/array.h"
#include "lib/transfer/archive_out.h"
#include "lib/transfer/export.h"
#include "lib/tree/files/files.h"

#define EXPORT_PIECE (1U << 20)

struct export {
	struct transfer transfer;
	const struct export_options *options;
	struct store *store;
	struct view *view;
	struct attr top;
};

/* What belongs to an inode beside its attributes and content. */
struct extras {
	ARRAY(struct archive_xattr) xattrs;   /* names and values are owned */
	ARRAY(struct archive_stretch) data;  /* of a file with holes: where it has data */
	bool has_holes;
	struct buf target; /* of a symlink */
};
const struct archive_xattr *extras_xattr(const struct extras *extras, const char *name); /* NULL: none */

/* An inode to be given out. */
struct item {
	struct attr attr;
	struct extras extras;
	struct inode *inode; /* of a regular file, open */
};
/* To be closed in any case. Of a head, what is buffered of the file is committed. -ESTALE: it is not there any more. */
WARN_UNUSED int item_open(struct export *export, uint64_t ino, struct item *item);
void item_close(struct item *item);
/* Somebody has written to the file since it was opened. */
bool item_changed(struct export *export, const struct item *item);

/* The content of a regular file, in pieces, ascending; only where it has data. -EAGAIN: it has become shorter. */
typedef int (*item_fn)(void *arg, const void *data, size_t len, uint64_t offset);
WARN_UNUSED int item_read(struct export *export, const struct item *item, uint8_t *piece, item_fn each, void *arg);

#endif
