/*
 * What the snapshots of a repository name: a walk over all their trees, each looked at once. For verifying, and for knowing what may go.
 *
 * Memory: a bit for each blob of the index, what a set (blob_set.h) takes for those that no index names, one path, and the name of each directory that
 * lies in one on the way down. One thread.
 */
#ifndef CORPUSFS_BACKUP_USED_BLOBS_H
#define CORPUSFS_BACKUP_USED_BLOBS_H

#include "lib/repository/node.h"
#include "lib/repository/snapshot_file.h"

struct used_blobs;

extern const char USED_WRONG_LENGTH[]; /* of a file; what is said of its holes may explain it (verify_description.h) */

struct used_blobs *used_blobs_new(const struct blob_index *index); /* which stays as it is meanwhile */
void used_blobs_free(struct used_blobs *used); /* NULL is fine */
bool used_blobs_has(const struct used_blobs *used, const struct blob_id *id, bool is_tree);
bool used_blobs_put(struct used_blobs *used, const struct blob_id *id, bool is_tree); /* false: it was there already */
uint64_t used_blobs_count(const struct used_blobs *used);

struct used_problem {
	const struct snapshot_file *snapshot;
	const char *path, *what;
	int code;
	const struct blob_id *id;
	bool is_tree;
};

struct used_walk {
	struct repository_reader *reader;
	/* A tree could not be read, or a blob is in no index: `path` says where in the snapshot, `what` which it is. Not 0: the walk ends with it. */
	int (*problem)(void *arg, const struct used_problem *problem);
	/* May be NULL: each blob of a file, also if it was named before. */
	void (*content)(void *arg, const char *path, const struct blob_id *id);
	/* May be NULL: a node says what cannot be restored. `node` is NULL where it is not this one alone. */
	void (*wrong)(void *arg, const struct snapshot_file *snapshot, const char *path, const struct node *node, const char *what);
	int (*tree)(void *arg); /* before each tree; not 0: the walk ends with it */
	void *arg;
};

/* Adds all that the snapshot names. */
WARN_UNUSED int used_blobs_add(struct used_blobs *used, const struct used_walk *walk, const struct snapshot_file *snapshot);

#endif
