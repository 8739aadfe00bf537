/*
 * The files that a mount has open for writing: those of which the kernel may hold content that the daemon has not
 * seen yet. Closed files are out (close(2) writes them back), and a shared mapping keeps its file open.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_WRITERS_H
#define CORPUSFS_FUSE_WRITERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer;

struct writers {
	pthread_mutex_t lock; /* guards the table and its members */
	struct writer *by_node;
};

void writers_init(struct writers *writers);
void writers_clear(struct writers *writers);

void writers_open(struct writers *writers, uint64_t node);
void writers_close(struct writers *writers, uint64_t node);
bool writers_has(struct writers *writers, uint64_t node);

/*
 * The node ids as an array that the caller frees; those of one view (by root_view, see node.h), or all when view is
 * 0.
 */
size_t writers_list(struct writers *writers, uint32_t view, uint32_t root_view, uint64_t **ret_nodes);

/* Written back by the kernel, whose own times come later; told_times() says that they came. */
void writers_wrote(struct writers *writers, uint64_t node);
void writers_told_times(struct writers *writers, uint64_t node);
bool writers_owes_times(struct writers *writers, uint64_t node);

/*
 * For the gate. A read that passes is counted; writers_seal() succeeds only if none passed since the
 * seal was begun, because the pages of one that did may be mapped and written again. Once sealed, the file's reads are to be
 * held.
 */
bool writers_pass_read(struct writers *writers, uint64_t node); /* false: sealed */
uint64_t writers_begin_seal(struct writers *writers, uint64_t node); /* the reads that have passed so far */
bool writers_awaits_seal(struct writers *writers, uint64_t node);    /* begun, and not sealed yet */
bool writers_seal(struct writers *writers, uint64_t node, uint64_t reads);
void writers_unseal_all(struct writers *writers);

#endif
