/*
 * The identity of a tree whose members come one after another, the root first, a directory before what is in it, names in the order of their bytes,
 * while the digests of its files' contents come when they are there, from any thread.
 *
 *   tree_parts_new -> tree_parts_member ... -> tree_parts_final -> tree_parts_free
 *                        regular files: -> tree_parts_content, once
 *
 * A directory's node is computed when all that is in it is known, its entries in their order. Who has several names must have its content before the
 * next one comes.
 *
 * Memory: one path, a few hundred bytes for each directory that is not complete, about a hundred for each name in it behind one whose content is not
 * there, and as much for each file that has several names. Threads: members are of one; tree_parts_content is for any.
 */
#ifndef CORPUSFS_IDENTITY_TREE_PARTS_H
#define CORPUSFS_IDENTITY_TREE_PARTS_H

#include "lib/identity/identity.h"

struct tree_parts;
struct tree_part; /* a regular file whose content is to come */

struct tree_member {
	const char *path; /* "" the root */
	uint32_t mode;
	uint64_t size;      /* of a regular file, whose content adds up to it */
	uint64_t rdev;
	const char *target; /* of a symbolic link */
	const char *first;  /* of a further name of a file: its first one, and then nothing else counts; else NULL */
	bool has_others;    /* further names may come */
};

struct tree_parts *tree_parts_new(void);
void tree_parts_free(struct tree_parts *parts); /* NULL is fine */

/*
 * ret_part: of a regular file; else NULL. -EBADMSG: the first member is not the root, a directory; its directory did not come; or its first name did
 * not.
 */
WARN_UNUSED int tree_parts_member(struct tree_parts *parts, const struct tree_member *member, struct tree_part **ret_part);
/* The digest of its content, as identity.h has it; the part is gone then. */
void tree_parts_content(struct tree_parts *parts, struct tree_part *part, const uint8_t content[IDENTITY_LEN]);

/* -EBADMSG: nothing came, or a content did not. */
WARN_UNUSED int tree_parts_final(struct tree_parts *parts, uint8_t ret_identity[IDENTITY_LEN]);

#endif
