/*
 * The reach of damage: which files, in which datasets and snapshots, have content in the damage list that nothing has healed, or records in
 * damaged tables of the database; and where the same path is still whole. The store is walked twice, however much is damaged
 * (lib/reclaim/chunk_references.h), and if tables are, these are read once, and all versions walked once more. Any thread.
 */
#ifndef CORPUSFS_VERIFY_DAMAGE_H
#define CORPUSFS_VERIFY_DAMAGE_H

#include "lib/store/store.h"

struct damage_place {
	const char *dataset, *snapshot, *path; /* as struct chunk_reference */
	uint64_t offset, length;
	uint64_t chunk;
	bool records; /* not its content: records of it are lost, or may be; then offset, length and chunk are 0 */
	/* Of a file in a head: a view that has the path, as a file in which nothing is damaged, the newest of its dataset, else one of the
	 * family. whole_dataset "": there is none; whole_snapshot "": its head. */
	const char *whole_dataset, *whole_snapshot;
};
typedef int (*damage_place_fn)(void *arg, const struct damage_place *place);

struct lost_records;
struct damage_sum {
	uint64_t chunks; /* damaged ones, of which some may be in no file any more */
	uint64_t places, bytes;
	bool all; /* false: there are more places than were told */
};

/* Stops when the callback returns not 0, and returns that. `ret_lost`: the damaged tables; the caller clears it, also after a failure. */
WARN_UNUSED int damage_find(struct store *store, size_t limit, damage_place_fn each, void *arg, struct damage_sum *ret_sum,
			    struct lost_records *ret_lost, struct error *err);

/* In a list of damage, which is in the order of ids; NULL: it is not in it. */
const struct chunk_damage *damage_find_chunk(const struct chunk_damage *list, size_t count, uint64_t chunk);
/* The ids, ascending, that no reader gets the content of, those that stand for one another included. Freed by the caller. */
size_t damage_ids(struct store *store, uint64_t **ret_ids);

#endif
