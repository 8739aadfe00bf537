/*
 * A walk over what a view has below a directory: depth first, names in the order of their bytes, without recursion. Memory follows the
 * depth, not the size of directories: of each directory on the way down a batch of names is held, a smaller one the deeper it lies.
 *
 *   walk = view_walk_new(view, dir, with_attr)
 *   while (view_walk_next(walk, &step)) ...        view_walk_skip(walk) after VIEW_WALK_ENTER: not into this one
 *   view_walk_free(walk)
 *
 * Who wants the attributes of some only asks for none, and then for those of a step: view_walk_attr(walk, &step).
 *
 * A head may change meanwhile: names that come late may be met or not, and what goes away is a step that failed. One thread.
 */
#ifndef CORPUSFS_TRANSFER_VIEW_WALK_H
#define CORPUSFS_TRANSFER_VIEW_WALK_H

#include "lib/tree/files/files.h"

struct view_walk;

enum view_walk_kind {
	VIEW_WALK_FILE,   /* anything but a directory */
	VIEW_WALK_ENTER,  /* a directory; what is in it comes next */
	VIEW_WALK_LEAVE,  /* a directory that was entered, and not skipped */
	VIEW_WALK_FAILED, /* this could not be read, or not all that is in it */
};

/* The texts are valid until the next call. */
struct view_walk_step {
	enum view_walk_kind kind;
	const char *path; /* from where the walk began; "" is that directory itself */
	const char *name; /* the last part of the path */
	uint64_t ino;
	uint8_t type;     /* DT_DIR, DT_REG, ... */
	struct attr attr; /* if it was asked for, unless it failed */
	int code;         /* why it failed; -ESTALE: it is not there any more */
};

struct view_walk *view_walk_new(struct view *view, uint64_t dir, bool with_attr);
void view_walk_free(struct view_walk *walk); /* NULL is fine */
WARN_UNUSED bool view_walk_next(struct view_walk *walk, struct view_walk_step *ret_step);
/* Fills in step->attr of VIEW_WALK_FILE and VIEW_WALK_ENTER, before the next call. Negative errno, as step->code has it. */
WARN_UNUSED int view_walk_attr(struct view_walk *walk, struct view_walk_step *step);
void view_walk_skip(struct view_walk *walk);

#endif
