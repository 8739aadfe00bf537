/*
 * The tree of a large directory, cut into pieces, so that who looks for one name of it, or lists it from somewhere on, need not fetch all of it:
 * of 1,000,000 names a tree (node.h) has 300 MB, and 48 when it is compressed.
 *
 *   tree    {"nodes":[NODE,NODE,...,NODE]}\n     as tree_end leaves it, its names in their order
 *   piece   a part of this text as it is. It ends behind the comma that follows a node, and the last one where the text ends. So all pieces, one
 *           after the other, are the tree, byte by byte, and their SHA-256 is its id.
 *   list    {"version":1,"tree":ID,"pieces":[{"first":NAME,"count":N},...]}\n     of each piece the name of its first node, as nodes have names,
 *           and how many nodes it has, 1 at least
 *
 * Where a piece ends depends only on the names and lengths of the nodes around: a tree in which few nodes have changed has most pieces of the one
 * before. They have 256 KiB in the middle, and 1 MiB at most unless one node has more. Of 1,000,000 names there are 1,100, and their list is about as long as
 * one of them is when compressed: so a look-up fetches about the least that it can.
 *
 * In a backup the pieces of a tree are the blobs of one file, and its list is another one (lib/backup/large_trees.h).
 * Who reads (lib/browse, lib/backup/verify_pieces.h) takes them for the tree with the id in their list only, and a piece only if its first name and
 * its count are those that the list has: else that is -EBADMSG, and the tree itself says what the directory has. A list of another version is
 * -ENOTSUP, and means the same.
 */
#ifndef CORPUSFS_REPOSITORY_TREE_PIECES_H
#define CORPUSFS_REPOSITORY_TREE_PIECES_H

#include "lib/repository/node.h"

/*
 * Shorter trees, of less than about 14,000 names, are not cut: such a one is fetched with one request and read in 90 ms, and pieces would need several
 * requests, one after the other.
 */
#define TREE_PIECES_FROM (4U << 20)

struct tree_piece {
	char *first;        /* owned */
	uint64_t position;  /* of its first node in the tree */
	uint64_t count;
	size_t offset, len; /* in the text that was cut; of a list that was read, 0 */
};

struct tree_pieces {
	ARRAY_FIELDS(struct tree_piece);
};
void tree_pieces_clear(struct tree_pieces *pieces);
static inline uint64_t tree_pieces_nodes(const struct tree_pieces *pieces)
{
	return pieces->count > 0 ? array_last(pieces)->position + array_last(pieces)->count : 0;
}

/* -EBADMSG: the text is formed otherwise, or its names are not in their order, or it has none. */
WARN_UNUSED int tree_pieces_cut(const char *tree, size_t len, struct tree_pieces *ret_pieces);

void tree_pieces_write(const struct tree_pieces *pieces, const struct blob_id *tree, struct buf *list);
WARN_UNUSED int tree_pieces_read(const char *list, size_t len, struct blob_id *ret_tree, struct tree_pieces *ret_pieces);

/* The piece in which a name would be, or a position; of positions behind all, the last one. There is one piece at least. */
size_t tree_pieces_named(const struct tree_pieces *pieces, const char *name);
size_t tree_pieces_at(const struct tree_pieces *pieces, uint64_t position);

/* Makes a tree of its own of a piece, for tree_read. -EBADMSG: it is none. */
WARN_UNUSED int tree_piece_open(const char *piece, size_t len, struct buf *ret_tree);

#endif
