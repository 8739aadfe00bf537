/* Members of an archive, one after the other, as tar(1) extracts them: each does to the dataset what it does after all before it. */
#ifndef CORPUSFS_TRANSFER_IMPORT_APPLY_H
#define CORPUSFS_TRANSFER_IMPORT_APPLY_H

#include "lib/transfer/import_parts.h"

/* A member as it stands in the archive. It owns all but `data` and what `member` points to. */
struct archived {
	char *path;       /* plain: see archive_path.h */
	const char *name; /* the last part of it */
	char *from;       /* of a hard link: the plain path of what it links to */
	char *target;     /* of a symbolic link */
	struct member member;
	const void *data; /* of a regular file */
};
void archived_clear(struct archived *archived);

struct apply;
struct apply *apply_new(struct import *import);
void apply_free(struct apply *apply);

/* A member without content, or with small content, which must be good until apply_flush. Takes its xattrs. */
void apply_member(struct apply *apply, struct archived *archived);
void apply_flush(struct apply *apply); /* all that was applied is in the dataset */
/*
 * A regular file whose content comes as a stream, after apply_flush. True: archived->member is complete for stream_begin. False: it may not
 * come in, and the user was told why.
 */
WARN_UNUSED bool apply_place(struct apply *apply, struct archived *archived);
/* Its content did not come in. */
void apply_missed(struct apply *apply, const struct archived *archived);
/* Whether the dataset had the same before the import; content is not compared. */
WARN_UNUSED bool apply_is_there(struct apply *apply, const struct archived *archived, struct attr *ret_attr);

#endif
