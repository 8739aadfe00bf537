/* What stat(2) says of an inode. */
#ifndef CORPUSFS_TREE_RECORDS_ATTR_H
#define CORPUSFS_TREE_RECORDS_ATTR_H

#include <time.h>

#include "lib/format/record.h"

#define DIRECTORY_SIZE 4096 /* st_size of every directory */

struct attr {
	uint64_t ino;
	uint32_t mode, uid, gid, nlink;
	uint64_t size;
	uint64_t allocated; /* bytes; st_blocks is this in 512-byte units, rounded up */
	uint64_t rdev;
	struct timespec atime, mtime, ctime, btime;
};

/* Of an inode of which nothing is buffered. */
struct attr attr_of_record(uint64_t ino, const struct inode_record *record);

#endif
