/*
 * Restoring: a backup becomes a dataset, or a part of one, or a plain directory. At the end its identity is compared with that of what was backed up:
 * computed of the dataset, or, of a directory, of all that was written. One that restic changed since has another one, which is not known.
 *
 * A new dataset that could not be restored wholly stays as far as it came. Over one that is there (`over`), a guard snapshot is taken first; then
 * what the backup has not is removed, and all that it has comes in.
 */
#ifndef CORPUSFS_BACKUP_RESTORE_H
#define CORPUSFS_BACKUP_RESTORE_H

#include "lib/backup/backup_find.h"
#include "lib/transfer/transfer.h"

struct restore_options {
	struct transfer_options transfer;
	struct repository *repository; /* its index is loaded here */
	const char *place;             /* what messages call the repository */
	const char *backup;            /* as backup_find has it, or NULL */
	struct backup_filter filter;
	const char *path;              /* what is wanted of it, clean, as restore_source.h has it */
	bool keep_going;
	/* Into a dataset: */
	const char *dataset;
	bool over;
	int level;
	/* Into a directory: */
	int target_fd;
	const char *target; /* for messages */
};

struct restore_result {
	char backup[BLOB_ID_TEXT];
	bool incomplete;                /* when it was made, something could not be read */
	struct backup_others others;
	char identity[2 * 32 + 1]; /* of what is there now; "": it was not compared */
	bool compared, same;
	bool is_begun;             /* the dataset that it was for is there, empty perhaps */
	const char *uncompared;    /* why nothing was compared, where nothing failed: a text that is never freed; or NULL */
	char guard[256]; /* the snapshot that was taken first, or "" */
	uint64_t local, fetched; /* bytes that came from the store, and from the repository */
	/* In a directory: files whose times its filesystem cannot have, and the first of them, "a, b"; the caller's to free. */
	uint64_t clamped;
	char *clamped_first;
	struct transfer_counts transfer;
};

/* -EEXIST: the dataset is there, and not `over`; -EILSEQ: the identity is another one. */
WARN_UNUSED int restore_to_dataset(struct store *store, const struct restore_options *options, struct restore_result *ret_result, struct error *err);
/* `store` may be NULL. In several threads. Files that are there with the same size, time and content, and one name, keep that; their attributes are set. */
WARN_UNUSED int restore_to_directory(struct store *store, const struct restore_options *options, struct restore_result *ret_result,
				     struct error *err);

/*
 * To nowhere: everything is read and checked, and the identity of the tree that it would be is computed as it comes. It needs no room, and memory for
 * names of files that have several. One thread, with the pool's.
 */
WARN_UNUSED int restore_to_memory(const struct restore_options *options, struct restore_result *ret_result, struct error *err);

/* What all begin and end with. */
struct restore {
	const struct restore_options *options;
	struct store *store;
	struct repository_lock *lock;
	struct pool *pool; /* checks, decrypts and unpacks what is read */
	struct snapshot_file snapshot;
	struct restore_source *source;
	struct restore_total *total; /* or NULL */
	atomic_uint_fast64_t *total_bytes; /* how many there are to come, for the progress, once it is known */
	bool only_walks; /* the content of files is read by others */
	struct restore_result *result;
};
WARN_UNUSED int restore_begin(struct restore *restore, struct error *err);
void restore_end(struct restore *restore);
/* Why there is nothing to compare, with so many problems; NULL: there is. */
const char *restore_uncompared(const struct restore *restore, uint64_t problems);
/* Compares the identity of what came back with that of the backup, if it is known. -EILSEQ */
WARN_UNUSED int restore_compare(struct restore *restore, const uint8_t identity[32], struct error *err);

#endif
