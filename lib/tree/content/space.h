/*
 * The free space of the disk that the store is on, less a reserve: -ENOSPC comes before RocksDB meets it. Internal to lib/tree.
 * Any thread.
 */
#ifndef CORPUSFS_TREE_CONTENT_SPACE_H
#define CORPUSFS_TREE_CONTENT_SPACE_H

#include <stdint.h>

#include "lib/base/clean.h"

struct kv;
struct space;

/* What is kept free of a disk of so many bytes. */
uint64_t space_reserve(uint64_t disk_bytes);

/* reserve 0: chosen by the size of the disk. `kv` (may be NULL) has a reserve of its own: what it gave up is not available. */
WARN_UNUSED int space_new(const char *path, uint64_t reserve, struct kv *kv, struct space **ret_space);
void space_free(struct space *space);
/*
 * -ENOSPC: there is no room for `bytes` beside what is buffered. The disk is looked at every 100 ms or 16 MiB, and before anything is refused:
 * who has just made room finds it.
 */
WARN_UNUSED int space_check(struct space *space, uint64_t bytes, uint64_t buffered);
/*
 * So much content that cannot be compressed may still be written for sure. What is available also takes the log, lists of chunks and files,
 * and what is being merged: measured on disks of 300 MiB to 1 GiB, with files of 20 KB and more, 3% beside the log.
 */
uint64_t space_promised(struct space *space);

#endif
