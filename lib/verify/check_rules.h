/*
 * What holds of the metadata. One function each looks at it, and what it finds carries its name.
 *
 * Of each family of views (check_inodes.c, check_names.c, check_reach.c):
 *
 *   K0  readable     every block of every table of metadata can be read; where not, the views of which something may be lost are named, and
 *                    what else holds of them is not looked at
 *   K1  record       every record can be understood
 *   K2  inode        whatever belongs to an inode has an inode record beside it
 *   K3  overlap      extents have a length and do not overlap
 *   K4  allocated    the lengths of the extents add up to the allocated bytes of the inode (I9: so a hole is a hole); inline content is
 *                    there, as long as counted and not longer than the file, and then there are no extents; a symlink's target is as
 *                    long as its size
 *   K5  chunk        the chunk that an extent names is stored (I8), as long as the extent says (check_chunks.c)
 *   K6  entry        only directories have entries; an entry stands for an inode that there is, of the type that it says
 *   K7  links        a file's link count is the number of its names; a directory's is 2 and the number of its subdirectories
 *   K8  parent       a directory has one name, in the directory that its record says is above it; the root has none
 *   K9  reachable    every directory is below the root
 *   K10 touched      what a view sees was written in an epoch of which the touched index has the inode (I7; check_touched.c)
 *
 * Of the store as a whole (check_catalog.c, check_orphans.c, check_chunks.c):
 *
 *   K11 line         a head's open epoch is the last of its line, and in no other's (I2); no line reaches epochs that are not given out yet
 *   K12 orphan       an inode without a name is noted as an orphan of each view that sees it, and what is noted as one has no name
 *   K13 catalogue    records of the catalogue can be understood; a snapshot's dataset is there, and of its family; no number is that of
 *                    two, or will be given out again
 *   K14 dedup        the index of equal content can be understood, and a chunk that it names has the SHA-256 under which it is named; it
 *                    may name chunks that are gone
 */
#ifndef CORPUSFS_VERIFY_CHECK_RULES_H
#define CORPUSFS_VERIFY_CHECK_RULES_H

#include <stdint.h>

#define CHECK_TEXT_MAX 400

struct check_problem {
	const char *rule, *name; /* "K3", "overlap" */
	const char *dataset, *snapshot; /* snapshot "": the head; dataset "": none in particular */
	uint64_t ino;                   /* 0: none */
	const char *path;               /* of the inode there; "": none, or it cannot be told */
	const char *text;               /* one line */
};

struct check_counts {
	uint64_t views, records, inodes, problems; /* inodes: in all views; a record that many views see is met once */
	uint64_t unreadable; /* tables */
};

#endif
