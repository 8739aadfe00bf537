/*
 * The identity of a tree that is in no store, computed as its members come: the root first, a directory before what is in it, names in the order of
 * their bytes. A file's content follows it, as content_digest.h has it.
 *
 *   tree_digest_new -> (tree_digest_member -> (tree_digest_data | tree_digest_zeros)*)* -> tree_digest_final -> tree_digest_free
 *
 * Where contents come from many threads, it is tree_parts.h alone. Memory: as there. One thread.
 */
#ifndef CORPUSFS_IDENTITY_TREE_DIGEST_H
#define CORPUSFS_IDENTITY_TREE_DIGEST_H

#include "lib/identity/tree_parts.h"

struct tree_digest;

struct tree_digest *tree_digest_new(void);
void tree_digest_free(struct tree_digest *tree); /* NULL is fine */

/* -EBADMSG: as of tree_parts_member(). */
WARN_UNUSED int tree_digest_member(struct tree_digest *tree, const struct tree_member *member);
void tree_digest_data(struct tree_digest *tree, const void *data, size_t len);
void tree_digest_zeros(struct tree_digest *tree, uint64_t len);

/* -EBADMSG: nothing came. */
WARN_UNUSED int tree_digest_final(struct tree_digest *tree, uint8_t ret_identity[IDENTITY_LEN]);

#endif
