/*
 * What holds of the metadata that a view sees. One function each looks at it (check_view.c), and what it finds carries its name.
 *
 *   K0  readable     every block of every table of metadata can be read; where not, the views of which something may be lost are named, and
 *                    what else holds of them is not looked at
 *   K1  record       every record can be understood
 *   K2  inode        whatever belongs to an inode has an inode record beside it
 *   K3  overlap      extents have a length and do not overlap
 *   K4  allocated    the lengths of the extents add up to the allocated bytes of the inode (I9: so a hole is a hole); inline content is
 *                    there, as long as counted and not longer than the file, and then there are no extents; a symlink's target is as
 *                    long as its size
 *   K5  chunk        the chunk that an extent names is stored (I8)
 *   K6  entry        only directories have entries; an entry stands for an inode that there is, of the type that it says
 *   K7  links        a file's link count is the number of its names; a directory's is 2 and the number of its subdirectories
 *   K8  parent       a directory has one name, in the directory that its record says is above it; the root has none
 *   K9  reachable    every directory is below the root
 */
#ifndef CORPUSFS_VERIFY_CHECK_RULES_H
#define CORPUSFS_VERIFY_CHECK_RULES_H

#include <stdint.h>

#define CHECK_TEXT_MAX 400

struct check_problem {
	const char *rule, *name; /* "K3", "overlap" */
	const char *dataset, *snapshot; /* snapshot "": the head */
	uint64_t ino;
	const char *text; /* one line */
};

struct check_counts {
	uint64_t views, records, inodes, problems;
	uint64_t unreadable; /* tables */
};

#endif
