/* Files of small pieces that lie far from each other, for the tests of lib/tree; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_PIECES_H
#define CORPUSFS_TEST_PIECES_H

#include <stdio.h>

#include "tests/unit/tree_store.h"

#define PIECE 100
#define STRIDE MIB
#define FAR ((1ULL << 62) - 1)

/* cmocka's jump out of a failed assertion must not leave a child: it would run the parent's tests. */
#define REQUIRE(condition)                                                          \
	do {                                                                        \
		if (!(condition)) {                                                 \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);     \
			abort();                                                    \
		}                                                                   \
	} while (0)

static inline void piece(uint64_t number, uint8_t *out)
{
	fill_noise(out, PIECE, number + 7);
}

/* Pieces far from each other, each an extent. */
static inline struct inode *make_pieces(struct tree_store *store, uint64_t count)
{
	struct inode *inode = new_file(store, "file");
	uint8_t bytes[PIECE];

	for (uint64_t i = 0; i < count; i++) {
		piece(i, bytes);
		REQUIRE(inode_write(inode, i * STRIDE, bytes, PIECE, 0) == 0);
	}
	REQUIRE(inode_commit(inode) == 0);
	return inode;
}

static inline bool has_piece(struct inode *inode, uint64_t number)
{
	uint8_t wanted[PIECE], found[PIECE];

	piece(number, wanted);
	return inode_read(inode, number * STRIDE, PIECE, found) == PIECE && memcmp(wanted, found, PIECE) == 0;
}

static inline uint64_t size_of(struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	return attr.size;
}

static inline uint64_t allocated_of(struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	return attr.allocated;
}

static inline int resize(struct inode *inode, uint64_t size)
{
	struct setattr change = { .mask = SET_SIZE, .size = size };
	struct attr attr;

	return view_setattr(inode_view(inode), inode_ino(inode), &change, &attr);
}

#endif
