/*
 * Where each blob stands: in memory, 48 bytes a blob and 32 a pack, found by a hash table of its own (open addressing on the ids, which are
 * as good as random). A blob may stand in several packs.
 *
 * Threads: adding excludes all else; finding is for any thread.
 */
#ifndef CORPUSFS_REPOSITORY_BLOB_INDEX_H
#define CORPUSFS_REPOSITORY_BLOB_INDEX_H

#include <stdbool.h>

#include "lib/repository/pack_file.h"

struct blob_index;

struct blob_place {
	struct blob_id pack;
	struct pack_blob blob;
};

struct blob_index *blob_index_new(void);
void blob_index_free(struct blob_index *index); /* NULL is fine */

/* Adds what is not there yet in this pack. */
void blob_index_add(struct blob_index *index, const struct blob_id *pack, const struct pack_blob *blobs, size_t count);
bool blob_index_has_pack(const struct blob_index *index, const struct blob_id *pack);
bool blob_index_has(const struct blob_index *index, const struct blob_id *id, bool is_tree);
/* The place number `copy` (0, 1, ...) of the blob. */
bool blob_index_find(const struct blob_index *index, const struct blob_id *id, bool is_tree, unsigned copy, struct blob_place *ret_place);
size_t blob_index_count(const struct blob_index *index);

/* In the order in which they were added: pack by pack. */
WARN_UNUSED int blob_index_each(const struct blob_index *index, int (*each)(void *arg, const struct blob_place *place), void *arg);
WARN_UNUSED int blob_index_each_pack(const struct blob_index *index, int (*each)(void *arg, const struct blob_id *pack), void *arg);

/* Adds the packs of an index file, which is JSON. -EBADMSG. */
WARN_UNUSED int blob_index_read(struct blob_index *index, const char *json, size_t len);

/* Writing an index file. */
struct index_writer {
	struct buf json;
	size_t blobs;
};
void index_writer_add(struct index_writer *writer, const struct blob_id *pack, const struct pack_blob *blobs, size_t count);
void index_writer_end(struct index_writer *writer, const struct blob_id *supersedes, size_t count);

#endif
