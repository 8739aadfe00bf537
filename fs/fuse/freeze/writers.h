/*
 * The files that a mount has open for writing: those of which the kernel may hold content that the daemon has not
 * seen yet. Closed files are out (close(2) writes them back), and a shared mapping keeps its file open.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_FREEZE_WRITERS_H
#define CORPUSFS_FUSE_FREEZE_WRITERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/fuse/session/node.h"

struct writer;

struct writers {
	pthread_mutex_t lock; /* guards the table and its members */
	struct writer *by_node;
	bool named; /* and not unsealed since */
	atomic_uint direct; /* files that are written directly: where there are none, nobody looks for pages */
};

void writers_init(struct writers *writers);
void writers_clear(struct writers *writers);

void writers_open(struct writers *writers, uint64_t node);
void writers_close(struct writers *writers, uint64_t node);
bool writers_has(struct writers *writers, uint64_t node);

/* The node ids as an array that the caller frees; those of one view (by `root`), or all when view is 0. */
size_t writers_list(struct writers *writers, uint32_t view, const struct node_root *root, uint64_t **ret_nodes);

/*
 * For the gate. A file is sealed range by range, from its start. writers_seal() succeeds only if no read or write passed since the range was
 * begun, because the pages that it leaves in the kernel may be mapped and written again. What lies in the sealed part only is to be held from
 * then on. Who reaches beyond it must pass, since taking those pages away would wait for him, and he unseals what he touched. Files that were
 * opened for writing after writers_name() will not be sealed: what they write is to be held.
 *
 * writers_arrive() ... a head start while writers_is_sealing() ... writers_pass()
 */
#define WRITERS_RANGE (2U << 20) /* bytes; the kernel's largest folio, so that none lies in two ranges */

struct writers_access {
	uint64_t offset, end;
	bool writes;
};
struct writers_range {
	uint64_t offset, end; /* UINT64_MAX: whatever comes */
	uint64_t passed;      /* reads and writes so far */
};

void writers_name(struct writers *writers); /* those open now will be sealed, where their view is frozen */
/* As writers_list(), of those named. */
size_t writers_list_named(struct writers *writers, uint32_t view, const struct node_root *root, uint64_t **ret_nodes);
void writers_arrive(struct writers *writers, uint64_t node);
/* False: to be held. *ret_unsealed: the seal ends there now, and what is held beyond must run; UINT64_MAX: it stays. */
bool writers_pass(struct writers *writers, uint64_t node, const struct writers_access *access, uint64_t *ret_unsealed);
/* Ends all head starts, until the next seal is begun; false while some that have arrived did not pass yet. */
bool writers_let_pass(struct writers *writers, uint64_t node);
/* The range behind what is sealed; `size` of the file. False: all of it is sealed. */
bool writers_begin_seal(struct writers *writers, uint64_t node, uint64_t size, struct writers_range *ret_range);
/* Begun, head starts have not ended, and it is about these bytes. */
bool writers_is_sealing(struct writers *writers, uint64_t node, const struct writers_access *access);
bool writers_seal(struct writers *writers, uint64_t node, const struct writers_range *range);
void writers_unseal_all(struct writers *writers);

/*
 * Pages that outlive what they show. Linux drops the pages of a direct write before it sends it, and drops them again when it is done, but
 * not when it was sent asynchronously (AIO, io_uring): what somebody read in between stays in the page cache for ever. So whoever answers a
 * direct write has the pages dropped first, unless the kernel can have none:
 *
 *   writers_begin_direct ... the write is done ... writers_end_direct says what to drop ... it is dropped ... writers_dropped ... the answer
 *   writers_note_pages       before the content of pages is read, and when pages are written
 *
 * The kernel has locked the pages before it asks for their content. So a page that was asked for before writers_note_pages counted is there
 * to be dropped, and one that is asked for later shows the new content.
 */
struct writers_drop {
	enum { WRITERS_DROP_NOTHING, WRITERS_DROP_RANGE, WRITERS_DROP_ALL } what;
	uint64_t noted; /* for writers_dropped */
};
void writers_begin_direct(struct writers *writers, uint64_t node);
struct writers_drop writers_end_direct(struct writers *writers, uint64_t node);
void writers_dropped(struct writers *writers, uint64_t node, struct writers_drop drop);
void writers_note_pages(struct writers *writers, uint64_t node);

#endif
