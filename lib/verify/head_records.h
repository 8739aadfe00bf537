/*
 * What one head sees, by inodes: what each has, and by which names it is known. For who mends names and link counts (mend_heads.h).
 * Memory does not grow with the head. Internal to lib/verify; one thread.
 */
#ifndef CORPUSFS_VERIFY_HEAD_RECORDS_H
#define CORPUSFS_VERIFY_HEAD_RECORDS_H

#include "lib/store/store.h"

/* Has no record: there are other records of it, and none that says what it is. */
struct head_inode {
	uint64_t ino;
	bool has_record;
	uint32_t mode, nlink;
	uint64_t parent;
	uint64_t extents, extents_end;
	uint64_t entries, subdirectories;
};

struct head_names {
	uint64_t count, directory; /* of the last one */
	uint8_t type;              /* that the last one says */
};

/* In the order of inodes, for each of which there is a record; ends with what is not 0. -EBADMSG: something cannot be read. */
typedef int (*head_inode_fn)(void *arg, const struct head_inode *inode, const struct head_names *names);
WARN_UNUSED int head_records_each(struct store *store, uint32_t family, const struct line *line, head_inode_fn each, void *arg);

#endif
