/*
 * Big blocks for buffered content, that were used before: fresh memory costs a page fault for each 4 KiB, more than anything else in a write.
 * Those that lie idle are in the same budget as what is buffered, which comes first: block_pool_shrink(). Thread-safe. Internal to lib/tree.
 */
#ifndef CORPUSFS_TREE_INODES_BLOCK_POOL_H
#define CORPUSFS_TREE_INODES_BLOCK_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES (8U << 20)

struct block_pool;

struct block_pool *block_pool_new(size_t bytes); /* at most so much lies idle */
void block_pool_free(struct block_pool *pool);   /* NULL is fine */
void *block_take(struct block_pool *pool);       /* NULL: no memory. Without a pool a fresh one, for free(). */
void block_give(struct block_pool *pool, void *block);
/*
 * Whether content that grows may move into a block. One that is filled a little takes as much memory as a full one, so there are no more of them than
 * the pool's bytes; several threads that ask at once may take some more.
 */
bool block_may_grow(struct block_pool *pool);
void block_pool_shrink(struct block_pool *pool, uint64_t idle_bytes); /* the system gets idle ones until they are no more than that */
void block_pool_give_back(struct block_pool *pool); /* the system gets those that lay idle ever since the last call */
uint64_t block_pool_idle_bytes(struct block_pool *pool);

#endif
