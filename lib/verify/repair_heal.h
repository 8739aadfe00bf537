/*
 * Healing a store with pieces that somebody has found, and undoing that.
 *
 * Before anything is changed, what is to be replaced is on disk in a file of the store's directory: undo-repair-TIME, a line of JSON for the store
 * and one for each piece: {"sha256", "length", "index": the chunk that the index named, "chunk": the damaged one that was read, "found"}. Stored
 * bytes are not in it: no byte is overwritten or removed, good bytes come beside them. A line that is not whole, because the process died, is of
 * nothing that was changed. Killed at any point, each piece is healed or as it was.
 *
 * Any thread.
 */
#ifndef CORPUSFS_VERIFY_REPAIR_HEAL_H
#define CORPUSFS_VERIFY_REPAIR_HEAL_H

#include "lib/chunk/wanted.h"
#include "lib/store/store.h"

#define REPAIR_UNDO_PREFIX "undo-repair-"
#define REPAIR_UNDO_NAME_MAX 64

/* A spool: pieces, each behind its length in 4 bytes, little-endian. Nothing in it is believed. */
WARN_UNUSED int repair_spool_add(int spool, const void *data, uint32_t length); /* at its end */

/* The pieces of damaged chunks, in the order of their ids; the same piece again for one that it was to stand for. One that is not known is not told. */
typedef int (*repair_piece_fn)(void *arg, uint64_t chunk, const struct wanted_piece *piece);
struct repair_hurt {
	uint64_t chunks; /* that nobody gets the content of */
	uint64_t unknown; /* of them: what to look for cannot be told */
};
WARN_UNUSED int repair_wanted(struct store *store, repair_piece_fn each, void *arg, struct repair_hurt *ret_hurt, struct error *err);

/* Gives, of the pieces, those that this store has, whole. It is read, to know that. */
WARN_UNUSED int repair_give(struct store *store, const struct wanted_piece *pieces, size_t count, wanted_fn each, void *arg);

struct repair_healed {
	uint64_t chunks, bytes;
};
/* `undo`: the file's name, as the call before made it; "": a new one. It stays "" if there was nothing to heal. */
WARN_UNUSED int repair_heal(struct store *store, int spool, char undo[REPAIR_UNDO_NAME_MAX], struct repair_healed *ret_healed, struct error *err);

struct repair_undone {
	uint64_t lines;
	uint64_t undone;  /* chunks that are damaged as they were before */
	uint64_t passed;  /* nothing was to be undone */
	uint64_t unknown; /* lines that are not whole */
};
/* Without `apply` it is only counted. -EINVAL: the file is of another store, or none of ours. */
WARN_UNUSED int repair_undo(struct store *store, int file, bool apply, struct repair_undone *ret_undone, struct error *err);

#endif
