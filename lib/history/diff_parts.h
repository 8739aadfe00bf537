/* What the two halves of a comparison share: diff.c finds what differs, diff_tell.c names it. Internal to lib/history. */
#ifndef CORPUSFS_HISTORY_DIFF_PARTS_H
#define CORPUSFS_HISTORY_DIFF_PARTS_H

#include <uthash.h>

#include "lib/history/diff.h"
#include "lib/tree/records/scan.h"

/* A name on one scan; name NULL: the directory itself. */
struct place {
	uint64_t dir;
	char *name; /* owned */
};

/* A lost or gained name of an inode that is in both trees. */
struct moved {
	uint64_t ino;
	struct place place;
	char *path;
};

struct moved_list {
	struct moved *items;
	size_t count, cap;
};

struct pair {
	uint64_t a, b;
	bool same_name; /* it stands where it stood: report its own changes */
};

struct item {
	enum diff_kind kind;
	struct place a, b; /* dir 0: not on this scan */
	char *path, *old_path;
	struct attr *attr_a, *attr_b;
	bool content_changed;
	uint64_t ino_a, ino_b;
};

struct work {
	struct pair *items;
	size_t count, cap;
};

struct diff {
	struct chunks *chunks;
	struct scan a, b;
	unsigned flags;
	bool one_family, by_touched;
	struct moved_list lost, gained;
	struct work pairs;         /* directories to compare */
	struct work gone, arrived; /* directories of one scan, to be listed with all that is in them */
	struct item *items;
	size_t count, cap;
	struct changed *changed;   /* uthash by ino: files of both trees that differ, by the touched index: names are looked up later */
};

struct changed {
	uint64_t ino;
	bool content;
	struct attr a, b;
	uint64_t hint;
	UT_hash_handle hh;
};

struct verdict {
	bool content, metadata;
};

/* --- diff.c --- */
struct item *diff_add_item(struct diff *diff, enum diff_kind kind);
struct attr *diff_keep_attr(struct attr attr);
struct place diff_place(uint64_t dir, const char *name);
/* Both inodes, or -ENOENT with neither. */
WARN_UNUSED int diff_load_both(struct diff *diff, uint64_t ino_a, uint64_t ino_b, struct scan_inode *a, struct scan_inode *b);
WARN_UNUSED int diff_compare(struct diff *diff, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ,
			     struct verdict *ret_verdict);

/* --- diff_tell.c --- after everything was compared: names, paths, order */
WARN_UNUSED int diff_name_all(struct diff *diff);
WARN_UNUSED int diff_tell(struct diff *diff, int (*each)(void *arg, const struct diff_entry *entry), void *arg);

#endif
