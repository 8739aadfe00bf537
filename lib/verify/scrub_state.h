/*
 * What is remembered of scrubs over restarts: one record of the catalogue ('J' "scrub").
 *
 *   u8 version | u8 phase | u64 next chunk | i64 begun | u64 chunks, bytes, damaged so far | i64 end of the last whole scrub, 0: none |
 *   u64 its chunks, bytes, damaged | u64 seconds from one to the next, 0: no schedule
 *
 * Any thread.
 */
#ifndef CORPUSFS_VERIFY_SCRUB_STATE_H
#define CORPUSFS_VERIFY_SCRUB_STATE_H

#include "lib/store/store.h"

enum scrub_phase { SCRUB_IDLE, SCRUB_TABLES, SCRUB_SMALL, SCRUB_BULK, SCRUB_PHASES };

struct scrub_counts {
	uint64_t chunks, bytes, damaged; /* bytes read */
};

struct scrub_state {
	enum scrub_phase phase; /* of one that was begun and has not ended */
	uint64_t next;          /* chunk to be looked at */
	int64_t begun;
	struct scrub_counts counts;
	int64_t last_end; /* seconds since 1970; 0: there was no whole scrub */
	struct scrub_counts last;
	uint64_t every; /* seconds */
};

WARN_UNUSED int scrub_state_get(struct store *store, struct scrub_state *ret_state); /* all zero when there is none or it is damaged */
WARN_UNUSED int scrub_state_put(struct store *store, const struct scrub_state *state);

#endif
