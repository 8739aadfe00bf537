/*
 * Checks what the views of one family see (K1 to K4, K6 to K10 in check_rules.h): in one walk over all stored versions, as they are at one
 * moment, and then by what that has gathered. A version is looked at once, however many views see it; what they see of an inode is compared
 * once for all views that see the same. Memory does not grow with the family: what is gathered goes to temporary files.
 *
 *   check_family_begin (under change_lock: views and versions are of one moment) -> the parts, in order -> check_family_end
 *
 * Internal to lib/verify; one thread.
 */
#ifndef CORPUSFS_VERIFY_CHECK_FAMILY_H
#define CORPUSFS_VERIFY_CHECK_FAMILY_H

#include "lib/base/spill.h"
#include "lib/store/store.h"
#include "lib/tree/records/all_versions.h"
#include "lib/verify/check_report.h"
#include "lib/verify/view_sets.h"
#include "lib/verify/view_states.h"

#define CHECK_MEMORY (16U << 20) /* of each map */

struct check_family {
	struct store *store;
	struct check_report *report;
	uint32_t family;
	struct viewers viewers;
	struct view_sets *sets;
	struct all_versions *versions;
	struct view_states states; /* of the inode that is looked at */
	struct spill *chunks;      /* of all families; check_chunks.h */
	struct spill *inodes;      /* inode, first place -> struct inode_kept */
	struct spill *names;       /* inode, directory, name, first place -> struct name_kept */
	struct spill *touched;     /* epoch, inode: of versions that are seen */
	struct spill *orphans;     /* place, inode: without a name */
	uint64_t max_ino;
};

/* What is compared with its names. */
struct inode_kept {
	uint64_t last; /* place */
	uint32_t mode, nlink;
	uint64_t parent;
};

struct name_kept {
	uint64_t last; /* place */
	uint8_t type;
};

/* `viewers` is taken over. Caller holds change_lock. */
void check_family_begin(struct check_family *family, struct store *store, struct check_report *report, uint32_t number, struct viewers *viewers);
void check_family_end(struct check_family *family);

/* The parts. Places and inodes are kept as numbers of 8 bytes, big-endian. -EBADMSG: something cannot be read. */
WARN_UNUSED int check_inodes(struct check_family *family);
WARN_UNUSED int check_names(struct check_family *family);
WARN_UNUSED int check_reach(struct check_family *family);
WARN_UNUSED int check_touched(struct check_family *family);
WARN_UNUSED int check_orphans(struct check_family *family);
WARN_UNUSED int check_lines(struct check_family *family);

/* Of the views [first, last], where they have the same. */
struct check_where check_where_of(const struct check_family *family, unsigned rule, const struct interval *places, uint64_t ino);

#endif
