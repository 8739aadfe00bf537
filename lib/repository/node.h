/*
 * A tree: one directory as a blob of JSON, {"nodes":[...]}, its nodes in the order of their names' bytes. Written and read node by node, so
 * that a directory of a million names needs room for its text only.
 *
 * What a node cannot say exactly: holes; times before year 1 and after 9999. Extended attributes whose names are not UTF-8 are left out of it. Targets of
 * symbolic links that are not UTF-8 stand in "linktarget_raw", which restic knows since 0.16.
 */
#ifndef CORPUSFS_REPOSITORY_NODE_H
#define CORPUSFS_REPOSITORY_NODE_H

#include <sys/types.h>
#include <time.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/repository/blob_id.h"

struct node_xattr {
	char *name;
	uint8_t *value;
	size_t len;
};

struct node {
	char *name;    /* bytes */
	uint32_t mode; /* as st_mode; without a type: it is none that we know */
	struct timespec mtime, atime, ctime;
	uint32_t uid, gid;
	uint64_t inode, device_id, links; /* names of one file have the same inode and device_id, and links above 1 */
	uint64_t size;
	uint64_t rdev;
	char *target; /* of a symbolic link */
	ARRAY(struct node_xattr) xattrs;
	ARRAY(struct blob_id) content; /* of a regular file */
	bool has_subtree;              /* of a directory */
	struct blob_id subtree;
	/* Not NULL: it stands for one or more nodes with a comma between them, as they are in another tree, and nothing else is set. Borrowed. */
	const char *as_is;
	size_t as_is_len;
};

void node_clear(struct node *node); /* frees what it has; it is empty then */
/* What all names of one file share: what it is, and its content. A file that changed between two readings has another one under its second name. */
struct blob_id node_body(const struct node *node);

/* Writing: tree_begin, tree_add in the order of names, tree_end; then `out` is the blob. */
void tree_begin(struct buf *out);
void tree_add(struct buf *out, const struct node *node);
void tree_end(struct buf *out);

/* Gives each node, which is the callee's to change and is cleared after the call. What `each` returns, if not 0, ends it. -EBADMSG, with a text. */
typedef int (*tree_fn)(void *arg, struct node *node);
WARN_UNUSED int tree_read(const char *json, size_t len, tree_fn each, void *arg);

#endif
