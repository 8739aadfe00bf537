/*
 * Directories of an export's target. One thread, the walker, goes down and up; others make files in the directories that he hands out.
 *
 *   target_dirs_init -> target_dirs_enter, target_dirs_leave ... -> (target_dirs_leave_all -> target_sync_all) -> target_dirs_clear
 *   target_dir_hold -> (others work in it) -> target_dir_release
 *
 * A directory gets its final mode and times when the last thing in it is made: by the walker as he leaves it, or by the last one who held it.
 * Few are open, however deep the tree is (held_dirs.h).
 */
#ifndef CORPUSFS_TRANSFER_TARGET_DIR_H
#define CORPUSFS_TRANSFER_TARGET_DIR_H

#include "lib/transfer/export_parts.h"
#include "lib/transfer/held_dirs.h"
#include "lib/transfer/target_sync.h"
#include "lib/transfer/trail.h"

/* How names begin under which files are written until they are complete. */
#define TARGET_TEMPORARY ".corpusfs-part-"

struct target_dir {
	struct held_dir held; /* comes first */
	struct trail *trail; /* its name, for messages */
	uint64_t ino;        /* in the view */
	bool existed;        /* before this export */
	bool has_default_acl;
	bool by_file;        /* what is made in it is synced one by one, and so is it (target_sync.h) */
	bool has_alike;      /* the view's directory has names of its own that begin as temporary ones do */
};

struct target_dirs {
	struct export *export;
	struct held_dirs dirs;
	struct target_sync sync; /* the walker's */
};

/* The top is the target itself; the descriptor is taken over. */
void target_dirs_init(struct target_dirs *dirs, struct export *export, int fd, bool existed);
/* Leaves what was entered, as it is if the export was stopped. */
void target_dirs_leave_all(struct target_dirs *dirs);
void target_dirs_clear(struct target_dirs *dirs);

/* The walker's place: he makes the directory if it is not there. -errno: he stays where he is. */
WARN_UNUSED int target_dirs_enter(struct target_dirs *dirs, const char *name, uint64_t ino);
void target_dirs_leave(struct target_dirs *dirs);
struct target_dir *target_dirs_current(struct target_dirs *dirs);

struct target_dir *target_dir_hold(struct target_dirs *dirs, struct target_dir *dir);
void target_dir_release(struct target_dirs *dirs, struct target_dir *dir);

/* A problem of a name in the directory; see transfer_problem. */
void target_dir_problem(struct target_dirs *dirs, const struct target_dir *dir, const char *name, int code, const char *text);

#endif
