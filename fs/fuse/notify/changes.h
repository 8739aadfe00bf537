/*
 * What changed through one mount and must be told to the kernel's caches of the others: a queue, emptied five times a
 * second by a thread of its own, which also makes the kernel write back files open for writing while somebody else
 * may be reading them.
 *
 * The pause between change and notice is wanted: an answer that was made before the change has reached the kernel by
 * then, and is dropped by the notice. The queue is as long as what one fifth of a second can change.
 *
 * Whoever is answered has his change noted where the next daemon finds it, should this one die before the kernel is told.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_NOTIFY_CHANGES_H
#define CORPUSFS_FUSE_NOTIFY_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct changes;
struct mount;
struct mount_group;

struct changes *changes_new(struct mount_group *group);
void changes_free(struct changes *changes); /* NULL is fine */

/* An inode's attributes or content changed through `mount`. Cheap when it is the only one. */
void changes_note(struct mount *mount, uint32_t view, uint64_t ino);
/* Its attributes only: what is cached of its content stays. */
void changes_note_attributes(struct mount *mount, uint32_t view, uint64_t ino);
/* A name came, went, or stands for something else; includes changes_note of the directory. */
void changes_note_name(struct mount *mount, uint32_t view, uint64_t dir, const char *name);
/*
 * The file is about to be replaced: it stays open for one pause at least, two at most. Who has just looked it up may then still open it, as
 * elsewhere. (Told that it is stale the kernel looks up and opens once more, which is not enough where a file is replaced all the time.)
 */
void changes_keep_open(struct mount_group *group, uint32_t view, uint64_t ino);
/* A name in the list of datasets (dataset NULL) or in a dataset's list of snapshots, in all mounts. */
void changes_note_list(struct mount_group *group, uint32_t view, const char *name);
/* A name in a directory (or, "", the directory itself) changed past all mounts. */
void changes_note_entry(struct mount_group *group, uint32_t view, uint64_t dir, const char *name);
/* The head came in the place of another one. The kernel was told, and is once more, past answers that were made before. */
void changes_note_head(struct mount_group *group, uint32_t view);
/* A name of a head stands for something else, in all mounts: tells the kernel before it returns, and once more later. Not in a request's
 * thread. */
void changes_tell_name(struct mount_group *group, uint32_t view, uint64_t dir, const char *name);
/*
 * What a daemon before this one has not told any more, by now that all mounts serve. False: it was more than could be left; then the
 * kernel is told of all inodes that may have changed, soon, and of none of those names.
 */
WARN_UNUSED bool changes_resume(struct mount_group *group);
/* Waits, a second at most, until the kernel has been told what was noted before. Not in a request's thread. */
void changes_settle(struct mount_group *group);

#endif
