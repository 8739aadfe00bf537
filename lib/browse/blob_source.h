/*
 * Where blobs come from: the one interface between files that are browsed and what holds them. Behind it stands a repository, whose
 * objects may lie in a directory or elsewhere (lib/repository/objects.h). A local cache of blobs is a source, too, in front of another one.
 *
 * What a source gives was verified: its bytes are those of the blob's name. Errors: -ENOENT no such blob; -EBADMSG all copies are damaged; others
 * of the place. Threads: any; calls may be made at once.
 */
#ifndef CORPUSFS_BROWSE_BLOB_SOURCE_H
#define CORPUSFS_BROWSE_BLOB_SOURCE_H

#include "lib/repository/repository.h"

struct blob_source {
	int (*get)(struct blob_source *source, const struct blob_id *id, bool is_tree, struct buf *ret_plain);
	/* How long the blob's plain bytes are, without fetching it. */
	int (*length)(struct blob_source *source, const struct blob_id *id, bool is_tree, uint64_t *ret_len);
	void (*free)(struct blob_source *source);
};

/* The repository, with its index, stays the caller's. */
struct blob_source *blob_source_repository(struct repository *repository);
/* Of such a source: blobs that others have added to the repository are found from then on. */
WARN_UNUSED int blob_source_refresh(struct blob_source *source, struct error *err);
void blob_source_free(struct blob_source *source); /* NULL is fine */

#endif
