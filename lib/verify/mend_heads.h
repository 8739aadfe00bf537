/*
 * Mending what the heads of a store say of names and links, after records were lost. The store is in nobody's hands.
 *
 *   MH1  A link count is the number of names (of a directory: 2 and the number of its subdirectories); a directory's parent is where its
 *        name is.
 *   MH2  What has no name any more, and is not noted to be cleared away, gets one in lost+found of its dataset: #INODE.
 *   MH3  What has content or entries and no inode record gets one, which only root can use. What lies between its extents counts as lost, and
 *        not as a hole: reading it gives EIO.
 *   MH4  Nothing is removed: a name that stands for nothing stays, and check tells of it. Snapshots stay as they are.
 *   MH5  Before a head is changed, a snapshot before-repair-TIME of it is taken: to undo, roll back to that.
 *
 * Who dies in the middle has mended some; done again, the rest is.
 */
#ifndef CORPUSFS_VERIFY_MEND_HEADS_H
#define CORPUSFS_VERIFY_MEND_HEADS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clean.h"
#include "lib/base/error.h"

#define HEAD_MEND_TEXT_MAX 200

struct head_mend {
	const char *dataset;
	uint64_t ino;
	const char *text; /* one line */
};

struct head_mends {
	uint64_t count;  /* all of them */
	char undo[64];   /* the snapshot's name, in each dataset that was changed; "": none was */
};

/* `each` is told what is done, or without `apply` what would be; not 0 ends it with that. -EBUSY: the store is in use; others. */
WARN_UNUSED int mend_heads(const char *path, bool apply, int (*each)(void *arg, const struct head_mend *mend), void *arg,
			   struct head_mends *ret_mends, struct error *err);

#endif
