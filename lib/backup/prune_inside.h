/* What the files of a prune share; prune.c says in which order it goes. Internal to lib/backup/prune*.c. */
#ifndef CORPUSFS_BACKUP_PRUNE_INSIDE_H
#define CORPUSFS_BACKUP_PRUNE_INSIDE_H

#include <uthash.h>

#include "lib/backup/prune.h"
#include "lib/backup/used_blobs.h"

struct pack {
	struct blob_id id;
	UT_hash_handle hh;
	bool is_owned; /* a remaining backup wrote it for itself */
	bool goes, is_rewritten;
	bool is_worth; /* to be written anew, if there is room */
	bool is_named; /* by an index file that stays when room is made */
	uint64_t size, kept; /* bytes; kept: of the blobs that stay */
	size_t first, count; /* the numbers of its blobs in the index */
};

struct listed {
	struct blob_id id;
	uint64_t size;
};

struct prune {
	const struct prune_options *options;
	struct repository *repository;
	struct transfer transfer;
	struct prune_counts *counts;
	struct repository_lock *lock;
	struct repository_reader *reader;
	struct used_blobs *used, *placed; /* placed: blobs of which a copy stays */
	uint8_t *stays;                   /* a bit for each number of the index: this copy does */
	struct pack *packs;               /* that an index names, in its order */
	struct object_names unnamed;      /* packs that none names */
	ARRAY(struct listed) listed;      /* packs that are there */
	struct object_names old_indexes;
	struct object_names put_indexes, put_packs; /* by this prune */
	bool has_forgotten; /* what was to be */
	struct error why;
};

static inline struct pack_blob prune_blob_of(const struct prune *prune, const struct pack *pack, size_t i)
{
	return blob_index_place(prune->repository->index, pack->first + i).blob;
}

static inline bool prune_stays(const struct prune *prune, const struct pack *pack, size_t i)
{
	const size_t number = pack->first + i;

	return prune->stays[number / 8] >> number % 8 & 1;
}

/* -ECANCELED: it is to end, of which prune->transfer knows why. */
WARN_UNUSED int prune_stopped(struct prune *prune);

/* Step 3: the packs that are to be written anew. What was put is noted, also when it fails. */
WARN_UNUSED int prune_rewrite(struct prune *prune, struct error *err);
/* There was no room for that: they stay as they are. */
void prune_give_up_rewriting(struct prune *prune);
/* Of those, fewer bytes are written: what frees most for each of them. In the end there are none. */
void prune_rewrite_less(struct prune *prune);
/* The room with which that pack can be written anew, of those that were not, which takes least of it; or, if there is none to be, the index. */
uint64_t prune_needed(struct prune *prune);
/* Step 4: an index of all packs that stay. The same. */
WARN_UNUSED int prune_write_index(struct prune *prune, struct error *err);

/* Steps 5 and 6. What is not there any more is passed over. */
WARN_UNUSED int prune_forget(struct prune *prune, struct error *err);
WARN_UNUSED int prune_remove(struct prune *prune, enum object_kind kind, const struct object_names *names, struct error *err);
WARN_UNUSED int prune_remove_unnamed(struct prune *prune, struct error *err); /* the packs that no index names; there are none then */
/*
 * There is no room for step 4: removes the index files that name nothing but packs that go, and then these packs, after what is to be forgotten. 1: there
 * were such.
 */
WARN_UNUSED int prune_make_room(struct prune *prune, struct error *err);

#endif
