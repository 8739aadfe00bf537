/* What the files of browse.h share. Not for others. They stand in this order: browse, browse_parts, browse_attrs, browse_names,
 * browse_content, browse_bring, browse_walk, browse_pin, browse_follow. */
#ifndef CORPUSFS_BROWSE_BROWSE_INSIDE_H
#define CORPUSFS_BROWSE_BROWSE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include <uthash.h>

#include "lib/base/pool.h"
#include "lib/browse/browse.h"
#include "lib/browse/browse_dir.h"
#include "lib/browse/browse_list.h"
#include "lib/browse/browse_nodes.h"
#include "lib/browse/browse_pieces.h"
#include "lib/browse/shared_cache.h"

/* Numbers of what is made up; those of nodes of the repository begin at BROWSE_NODES_FIRST. */
#define IDS 2ULL
#define TIMES 3ULL
#define BACKUPS (1ULL << 32) /* and the backup's number */
#define LINKS (2ULL << 32)   /* of `times` */
#define LATESTS (3ULL << 32)

#define PIECES_WAY 3 /* trees from that of a backup to the directory of a tree's pieces */

struct told {
	struct blob_id id;
	UT_hash_handle hh;
};

/* Who reads a file from one end to the other. */
struct stream {
	uint64_t id;
	uint64_t begin, end; /* what was read in order */
	uint64_t fetched;    /* up to where more was asked for */
};
#define BROWSE_STREAMS 64

struct browse {
	struct browse_options options;
	struct repository *repository;
	struct repository_lock *lock;
	struct browse_list *list;
	bool single; /* the root is the tree of the only backup in the list, to which none comes */
	bool is_below; /* the root is the directory of the dataset that was backed up, and not the tree itself */
	struct blob_source *place, *source; /* place: the repository; source: what is asked for blobs, which may have a cache on disk */
	struct shared_cache *blobs, *dirs;
	struct shared_cache *pieces, *parts; /* of large directories: lists of pieces, by the trees that they stand in, and the pieces, by their blobs */
	struct browse_nodes *nodes;
	atomic_uint_fast64_t read_bytes;
	struct pool *pool; /* for browse_bring; NULL: without a cache on disk */

	pthread_t loader;
	bool loads;
	pthread_mutex_t mutex; /* guards all below */
	pthread_cond_t loaded, called;
	bool has_index, index_failed, look_again, ends;
	uint32_t shown; /* the backup that is in the root, if it is a single one */
	uint64_t root;  /* the number of what is below; 0: not looked up yet */
	bool moves;             /* the root is about to be another's */
	struct cached *in_root; /* the root's directory, from when the first of its names was given that somebody may keep; NULL: none was */
	struct browse_followed followed;
	struct told *told;
	bool told_lost;
	struct stream streams[BROWSE_STREAMS];
};

/* A directory in use, or a part of it. */
struct in_dir {
	struct shared_cache *cache; /* that it is in */
	struct cached *cached;
	struct browse_dir *dir;
	struct blob_id blob; /* that it is made of: its tree, or a piece of that */
	uint64_t first;      /* the position in the directory of what is at 0 here */
	bool is_last;        /* nothing comes behind it */
};

/* A node in use, with the directory that it stands in. */
struct in_node {
	struct in_dir dir;
	struct browse_place place;
	size_t position; /* in dir.dir */
	const struct node *node;
};

/* --- browse.c --- */

/* Somebody looks at the list of backups: those that came since are soon in it. */
void browse_look_again(struct browse *browse);
/* Until the repository's index is there. -EIO: it could not be had, and is tried again. -EAGAIN: it is not there yet. */
WARN_UNUSED int browse_wait_index(struct browse *browse, bool may_wait);
/* A copy of the bytes, as the cache of blobs holds them; ret_cost: what it takes. */
struct buf *browse_blob_new(const void *data, size_t len, size_t *ret_cost);

/* Of a blob that cannot be had. What happened is for the log, and who reads gets -EIO. */
int browse_failed(struct browse *browse, const struct blob_id *id, const char *of, int code);
/* The whole directory. browse_dir_get: the same, and what happened is the caller's to tell. */
WARN_UNUSED int browse_dir_use(struct browse *browse, const struct blob_id *tree, bool may_wait, struct in_dir *ret_dir);
WARN_UNUSED int browse_dir_get(struct browse *browse, const struct blob_id *tree, bool may_wait, struct in_dir *ret_dir);
void browse_dir_done(struct in_dir *dir);

/* --- browse_parts.c --- */

/* Of a directory: the part in which a name would be or, without one, that has a position; of those behind all, the last part. */
struct browse_wanted {
	struct blob_id tree;
	uint32_t backup;
	const char *name;
	uint64_t position;
	bool lists; /* what follows is soon wanted, too */
	bool whole; /* all of it is wanted */
};
WARN_UNUSED int browse_part_use(struct browse *browse, const struct browse_wanted *wanted, bool may_wait, struct in_dir *ret_dir);
/* Gives the blobs, but for pieces, that parts of the directory are found with: its tree or, of a large one, what stands in for that. */
WARN_UNUSED int browse_parts_blobs(struct browse *browse, const struct browse_wanted *wanted, int (*each)(void *arg, const struct blob_id *id, bool is_tree),
				   void *arg);
WARN_UNUSED int browse_node_use(struct browse *browse, uint64_t id, bool may_wait, struct in_node *ret_node);
void browse_node_done(struct in_node *node);

/* --- browse_names.c --- */

/* A directory of the repository: its tree, its number in st_ino, and of which backup it is. */
struct tree_of {
	struct blob_id tree;
	uint64_t ino;
	uint32_t backup;
};
WARN_UNUSED int browse_tree_of(struct browse *browse, uint64_t id, struct tree_of *ret_tree); /* -ENOTDIR, -ESTALE */

/* --- browse_content.c --- */

/* The blob that holds the byte at `offset`; layout->count - 1: none does that anybody knows. */
size_t browse_blob_at(const struct browse_layout *layout, uint64_t offset);

/* --- browse_bring.c --- */

WARN_UNUSED int browse_bring_blob(struct browse *browse, const struct blob_id *id, bool is_tree); /* of a directory, to the local disk */

/* --- browse_attrs.c --- */

/* The backup whose tree the directory is, and that a symbolic link leads to. */
bool browse_is_backup(const struct browse *browse, uint64_t id, size_t *ret_number);
bool browse_is_link(const struct browse *browse, uint64_t id, size_t *ret_number);
/* st_ino: names of one file have one number; all else has one of its own, also its copy in another backup. */
uint64_t browse_backup_ino(const struct browse *browse, size_t number);
uint64_t browse_node_ino(const struct browse *browse, size_t backup, uint64_t parent_ino, const struct node *node, size_t position);
/* The node that a number means: what is below, for the root of a dataset. */
WARN_UNUSED int browse_real_node(struct browse *browse, bool may_wait, uint64_t *id);
/* The directory of the dataset in a backup, as a node. */
WARN_UNUSED int browse_root_of(struct browse *browse, size_t backup, bool may_wait, uint64_t *ret_id);
/* Whether what the root is, of which `root` was the number, or a name in it, may be another's in a moment. */
/* Of a mount that follows: whether it is a root, or was one. Such a directory is in memory as a whole (browse_follow.c). */
bool browse_is_root(struct browse *browse, uint64_t dir);
bool browse_root_passes(struct browse *browse, uint64_t root);
/* The same of a name in a directory, after it was looked up, and as what stands there was taken as a node if it is there. */
bool browse_name_passes(struct browse *browse, uint64_t dir, const struct blob_id *tree, bool is_there);
struct stat browse_stat_of(const struct node *node, uint64_t ino);
WARN_UNUSED int browse_stat_made_up(const struct browse *browse, uint64_t id, struct stat *ret_stat); /* -ESTALE */

#endif
