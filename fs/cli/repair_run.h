/*
 * One repair of content, of whatever damage is known: what is damaged is asked of the store; where it may be whole is looked at here, as the user;
 * what was found goes to the store in a file in memory, some tens of megabytes at a time, and the store takes of it what has the SHA-256 of
 * something damaged.
 *
 *   repair_run_init -> repair_run_ask -> repair_run_look for each source -> repair_run_clear
 *
 * Not applied, it changes nothing and tells what would be found.
 */
#ifndef CORPUSFS_CLI_REPAIR_RUN_H
#define CORPUSFS_CLI_REPAIR_RUN_H

#include <stdint.h>

#include "fs/cli/repair_source.h"

struct repair_run {
	const char *store; /* borrowed */
	bool apply;
	json_t *pieces; /* sha256 -> {sha256, length, source: name of where it was found} */
	json_t *chunks; /* chunk -> sha256 */
	json_t *places; /* parts of files that are hurt, as rows of `damage`, with "source" */
	json_t *rows;   /* one for each source */
	json_int_t hurt, unknown;
	char *undo; /* the name in the store's directory; NULL: nothing was changed */
	uint64_t healed, healed_bytes;
	/* Its own. */
	json_t *cuts; /* how the store cuts */
	int spool;
	const struct repair_source *source; /* that is looked at */
	uint64_t found, found_bytes;
	struct error *err; /* of the store, when a callback failed */
	bool store_failed;
};

void repair_run_init(struct repair_run *run, const char *store, bool apply);
void repair_run_clear(struct repair_run *run);

/* What is damaged; `places`: and which files have it, which may be long to find out, and is needed for sources that are files. */
WARN_UNUSED int repair_run_ask(struct repair_run *run, bool places, struct error *err);
/* Looks for what was not found yet. What is wrong with a part of the source stands in its row ("problem"). The source must stay. */
WARN_UNUSED int repair_run_look(struct repair_run *run, const struct repair_source *source, struct error *err);

/* The piece that a part of a file lacks; NULL: it is not known. */
json_t *repair_run_piece(const struct repair_run *run, const json_t *place);

#endif
