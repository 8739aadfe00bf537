/*
 * What changed in one mount and the kernel was not told yet for the others: the next daemon tells it, since nobody else remembers. A ring of
 * bytes in memory that daemons leave to each other; zeros are an empty one. A change is in it when `to` says so, and until `from` does.
 *
 * A change that has no room there is lost, but for a bit that its inode has in a table. Other inodes have the same bit. So whoever looks the bits of
 * all inodes up finds those that changed, and some that did not; the more was lost the more of these, and no change is ever missed.
 *
 * Threads: one at a time, but for untold_next_lost().
 */
#ifndef CORPUSFS_SUPERVISE_UNTOLD_H
#define CORPUSFS_SUPERVISE_UNTOLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clean.h"

#define UNTOLD_BYTES (512U << 10) /* some ten thousand changes */
#define UNTOLD_NAME_MAX 255
#define UNTOLD_BITS (1U << 22)

struct untold {
	_Atomic uint64_t from, to; /* grow */
	_Atomic uint32_t lost;     /* there was no room for some; so many rounds ago at most (untold_told) */
	_Atomic uint64_t lost_bits[UNTOLD_BITS / 64]; /* of the inodes of those */
	uint8_t bytes[UNTOLD_BYTES];
};

struct untold_change {
	uint64_t ino;
	uint32_t view;
	uint8_t kind;       /* enum node_kind */
	uint8_t attributes; /* no more than these */
	uint8_t len;        /* of the name that follows */
	uint8_t zero;
};

void untold_add(struct untold *untold, const struct untold_change *change, const char *name);
uint64_t untold_end(const struct untold *untold);
/* All up to what untold_end() said was told. To be called once for each round of telling, whether there was anything to tell or not. */
void untold_told(struct untold *untold, uint64_t end);
/* False: some were lost; or what is there makes no sense, and any may have been. */
WARN_UNUSED bool untold_each(struct untold *untold, void (*each)(void *arg, const struct untold_change *change, const char *name), void *arg);
/* The first inode in [from, end) of the view of which a change may have been lost; `end`: there is none. Any thread. */
uint64_t untold_next_lost(const struct untold *untold, uint32_t view, uint64_t from, uint64_t end);

#endif
