/*
 * The identity of a tree that is in no store, computed as its members come: the root first, a directory before what is in it, names in the order of
 * their bytes. A file's content follows it, as content_digest.h has it.
 *
 *   tree_digest_new -> (tree_digest_member -> (tree_digest_data | tree_digest_zeros)*)* -> tree_digest_final -> tree_digest_free
 *
 * Memory: one path, a few hundred bytes for each directory on the way down, and about a hundred for each file that has several names. One thread.
 */
#ifndef CORPUSFS_IDENTITY_TREE_DIGEST_H
#define CORPUSFS_IDENTITY_TREE_DIGEST_H

#include "lib/identity/identity.h"

struct tree_digest;

struct tree_member {
	const char *path; /* "" the root */
	uint32_t mode;
	uint64_t size;      /* of a regular file, whose content adds up to it */
	uint64_t rdev;
	const char *target; /* of a symbolic link */
	const char *first;  /* of a further name of a file: its first one, and then nothing else counts; else NULL */
	bool has_others;    /* further names may come */
};

struct tree_digest *tree_digest_new(void);
void tree_digest_free(struct tree_digest *tree); /* NULL is fine */

/* -EBADMSG: the first member is not the root, a directory; its directory did not come; or its first name did not. */
WARN_UNUSED int tree_digest_member(struct tree_digest *tree, const struct tree_member *member);
void tree_digest_data(struct tree_digest *tree, const void *data, size_t len);
void tree_digest_zeros(struct tree_digest *tree, uint64_t len);

/* -EBADMSG: nothing came. */
WARN_UNUSED int tree_digest_final(struct tree_digest *tree, uint8_t ret_identity[IDENTITY_LEN]);

#endif
