/* The two halves of a witness: one works, the other looks at what is left. */
#ifndef CORPUSFS_TEST_CRASH_WITNESS_H
#define CORPUSFS_TEST_CRASH_WITNESS_H

#include "tests/crash/model.h"

/* DIR/.snapshots/sN/fN or DIR/fN; -ENOENT, or what reading it gave. */
WARN_UNUSED int witness_read(const char *directory, int64_t snapshot, uint32_t file, struct buf *ret_content);

int witness_write(const char *directory, const char *ledger, uint64_t seed, unsigned long operations);

/* Counts only what was acknowledged in the first `acknowledged` bytes of the ledger, of what was begun in the first `begun`. */
int witness_check(const char *directory, const char *ledger, size_t acknowledged, size_t begun, bool accepted);

#endif
