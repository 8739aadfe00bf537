/*
 * What a daemon leaves of one FUSE session to the next: memory that both map. Node ids need no table (fs/fuse/session/node.h), so it is little:
 * how the session began, what it is a mount of, what is open in it, and which requests were being worked at.
 *
 * The memory is a memfd that the supervisor holds, or, where there is no supervisor, anonymous. It is sparse. A daemon may die between any two
 * instructions, so each entry is valid by the member that is written last.
 */
#ifndef CORPUSFS_SUPERVISE_KEPT_H
#define CORPUSFS_SUPERVISE_KEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clean.h"

#define KEPT_INIT_MAX 512
#define KEPT_PLACES_MAX 65536
#define KEPT_THREADS 64
#define KEPT_SUSPECTS 128
#define KEPT_DONE 2048 /* a request that comes again is refused before so many others have taken its place */
#define KEPT_OPENS_MAX (1U << 20)

/* An open file or directory. Its number (the kernel's file handle) is {generation, index + 1}. */
struct kept_open {
	_Atomic uint64_t request; /* that opened it, without the bit of a repetition; 0: free */
	uint64_t node;
	uint32_t generation; /* how often the place was freed */
	uint32_t flags;
};
#define KEPT_OPEN_WRITABLE 1U
#define KEPT_OPEN_DIRECTORY 2U

/* A request that was being worked at when a daemon died. */
struct kept_suspect {
	uint64_t request;
	uint32_t guilt;
};

struct kept_session {
	_Atomic uint64_t magic; /* KEPT_MAGIC when all up to the first `places` is set */
	uint64_t session;       /* a random number */
	uint32_t connection;    /* number of the kernel's */
	uint32_t dataset;       /* what it is a mount of, by id, since names change; 0: of all */
	uint32_t snapshot;      /* by its view's number; 0: of none */
	uint32_t init_len;
	uint8_t init[KEPT_INIT_MAX]; /* the kernel's INIT request */
	_Atomic uint32_t places_turn; /* which of the two counts: arguments of its mounts, as text */
	char places[2][KEPT_PLACES_MAX];
	_Atomic uint64_t running[KEPT_THREADS]; /* requests; 0: none */
	struct kept_suspect suspects[KEPT_SUSPECTS];
	uint64_t done[KEPT_DONE]; /* requests that were done, and not answered, when a daemon died; in turn */
	uint32_t done_next;
	uint32_t suspect_next;
	_Atomic uint32_t opens_end; /* places from here on were never used */
	_Atomic int lost;           /* stores into mapped files, and not all were told yet who must be (fs/fuse/freeze/lost.h): why; 0: none */
	struct kept_open opens[KEPT_OPENS_MAX];
};
#define KEPT_MAGIC 0x3174706b73667063ULL

/* fd -1: anonymous memory. -ENOMEM */
WARN_UNUSED int kept_map(int fd, struct kept_session **ret_kept);
void kept_unmap(struct kept_session *kept); /* NULL is fine */
WARN_UNUSED int kept_create(int *ret_fd); /* a memfd of that size */

const char *kept_places(const struct kept_session *kept);
WARN_UNUSED int kept_set_places(struct kept_session *kept, const char *text); /* -E2BIG */

/*
 * After a daemon died: who was being worked at is a suspect, by so much more. Then kept_guilt() says how much a request that comes again has
 * come together.
 */
void kept_suspect(struct kept_session *kept, uint32_t guilt);
uint32_t kept_guilt(const struct kept_session *kept, uint64_t request);

/*
 * After a daemon died: the request was done. The next daemons know it, too, since their own changes take the place of the mark that says so
 * (lib/tree/inodes/mark.h), and each may die before it has answered this one.
 */
void kept_note_done(struct kept_session *kept, uint64_t request);
bool kept_was_done(const struct kept_session *kept, uint64_t request);

#endif
