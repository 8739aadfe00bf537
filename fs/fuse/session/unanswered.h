/*
 * The requests that a session has read and not answered yet: which is the oldest, and where it waits. A table without locks, since each
 * request passes here twice: a request has its place by its number, and where many wait a few may find none and are not told of.
 *
 *   unanswered_begin    it was read
 *   unanswered_moved    the thread that read it is done with it: it is held back, or somebody else will answer
 *   unanswered_end      it is being answered
 *   unanswered_oldest
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_SESSION_UNANSWERED_H
#define CORPUSFS_FUSE_SESSION_UNANSWERED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_in_header;

#define UNANSWERED_PLACES 1024 /* a power of two */

enum unanswered_where { UNANSWERED_RUNS, UNANSWERED_HELD, UNANSWERED_HANDED_ON };

struct unanswered {
	struct unanswered_place {
		_Atomic uint64_t unique; /* 0: free */
		_Atomic uint64_t node, since_ms;
		_Atomic uint32_t opcode, where;
		_Atomic pid_t thread;
	} places[UNANSWERED_PLACES];
};

void unanswered_begin(struct unanswered *unanswered, const struct fuse_in_header *in, pid_t thread); /* leaves out what gets no answer */
void unanswered_moved(struct unanswered *unanswered, uint64_t unique, enum unanswered_where where);
void unanswered_end(struct unanswered *unanswered, uint64_t unique);

struct unanswered_request {
	uint64_t unique, node, age_ms;
	uint32_t opcode;
	enum unanswered_where where;
	pid_t thread; /* that runs it */
};
bool unanswered_oldest(struct unanswered *unanswered, struct unanswered_request *ret_request); /* false: none waits */

const char *unanswered_name(uint32_t opcode); /* "READ" */

#endif
