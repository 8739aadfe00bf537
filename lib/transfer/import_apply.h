/* Members of an archive, one after the other, as tar(1) extracts them: each does to the dataset what it does after all before it. */
#ifndef CORPUSFS_TRANSFER_IMPORT_APPLY_H
#define CORPUSFS_TRANSFER_IMPORT_APPLY_H

#include "lib/transfer/import_parts.h"

/* A member as the archive told it. All is owned, but for `data` and what `member` points to. */
struct told {
	char *path;       /* plain: see archive_path.h */
	const char *name; /* the last part of it */
	char *from;       /* of a hard link: the plain path of what it links to */
	char *target;     /* of a symbolic link */
	struct member member;
	const void *data; /* of a regular file */
};
void told_clear(struct told *told);

struct apply;
struct apply *apply_new(struct import *import);
void apply_free(struct apply *apply);

/* A member without content, or with small content, which must be good until apply_flush. Takes its xattrs. */
void apply_member(struct apply *apply, struct told *told);
void apply_flush(struct apply *apply); /* all that was applied is in the dataset */
/*
 * A regular file whose content comes as a stream, after apply_flush. False: it may not come in, its problem was told. Else told->member is
 * complete for stream_begin.
 */
WARN_UNUSED bool apply_place(struct apply *apply, struct told *told);
/* Whether what such a file was told to be, but for its content, was there before the import. */
WARN_UNUSED bool apply_is_there(struct apply *apply, const struct told *told, struct attr *ret_attr);

#endif
