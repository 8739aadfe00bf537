/*
 * Warming: reads the chunks that files refer to, so that the page cache holds those parts of the store's files that reading the files
 * will need. Chunks are read in the order in which they lie on disk, each once, or, of a very large tree, in several such passes.
 */
#ifndef CORPUSFS_TRANSFER_WARM_H
#define CORPUSFS_TRANSFER_WARM_H

#include "lib/transfer/transfer.h"

struct warm_options {
	struct transfer_options transfer;
	const char *source; /* "DATASET" or "DATASET@NAME" */
	const char *path;   /* in it, "" for all */
};

struct warm_result {
	uint64_t files, chunks;
	uint64_t bytes; /* as stored */
	double seconds;
};

WARN_UNUSED int warm_run(struct store *store, const struct warm_options *options, struct warm_result *ret_result, struct error *err);

#endif
