/*
 * The order of locks, and a check that every thread keeps it. A thread that holds locks takes only locks that stand further down in the
 * table; of those that stand in one line, only one with a greater key. So no two threads can wait for each other.
 *
 * Locks of the table are struct mutex and struct rwlock (locks.h), which call the functions below in builds with debug information: a
 * violation ends the process with the names of the locks and of the functions that took them. Release builds check nothing.
 *
 * A lock that is not in the table is a leaf: whoever holds it takes no other.
 */
#ifndef CORPUSFS_BASE_LOCK_ORDER_H
#define CORPUSFS_BASE_LOCK_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/*   rank              name                    keys, where one thread may hold several */
#define LOCK_ORDER(X)                                                                                                  \
	X(LOCK_IMPORT_READ, "import.reading")                                                                          \
	X(LOCK_IMPORT_APPLY, "import.applying")                                                                        \
	X(LOCK_CHANGE,     "store.change_lock")                                                                        \
	X(LOCK_FUSE_FREEZE, "freeze.lock")             /* of fs/fuse */                                                \
	X(LOCK_NAMES,      "view.names")                                                                               \
	X(LOCK_INODE,      "inode.lock")           /* (number of the view, inode number) */                            \
	X(LOCK_MOVING,     "readers.moving")                                                                           \
	X(LOCK_EPOCH,      "view.epoch_lock")      /* (family and dataset, number of the view); freeze.c alone takes several */ \
	X(LOCK_QUOTA,      "quota.lock")                                                                               \
	X(LOCK_CATALOG,    "store.catalog_lock")                                                                       \
	X(LOCK_PENDING,    "pending.lock")                                                                             \
	X(LOCK_CACHE,      "view.cache_lock")                                                                          \
	X(LOCK_LRU,        "tree.lru_lock")                                                                            \
	X(LOCK_FAMILIES,   "tree.family_lock")                                                                         \
	X(LOCK_FAMILY,     "family.lock")                                                                              \
	X(LOCK_HOLD,       "view.hold")                                                                                \
	X(LOCK_SPACE,      "space.lock")                                                                               \
	X(LOCK_MARK,       "chunks.mark_lock")                                                                         \
	X(LOCK_GROUPS,     "chunks.groups_lock")                                                                       \
	X(LOCK_FUSE_GROUP, "mount_group.lock")

#define LOCK_ORDER_RANK(rank, name) rank,
enum lock_rank { LOCK_ORDER(LOCK_ORDER_RANK) LOCK_RANKS };
#undef LOCK_ORDER_RANK

/* What the check knows of a lock. */
struct lock_mark {
	enum lock_rank rank;
	uint64_t major, minor; /* its key */
};

/* Before a thread waits for the lock; `where`: the function that does. */
void lock_order_check(const struct lock_mark *mark, const char *where);
/* The thread has it now. */
void lock_order_taken(const struct lock_mark *mark, const char *where);
void lock_order_given(const struct lock_mark *mark);
/* Before a thread gives it up to wait for a condition: it will be taken again, so it must be the last in order that the thread holds. */
void lock_order_check_wait(const struct lock_mark *mark, const char *where);

#endif
