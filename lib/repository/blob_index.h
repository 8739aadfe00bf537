/*
 * Where each blob stands, in memory: packed arrays, one of blobs and one of packs, and a hash table of numbers over each (open addressing on the
 * ids, which are as good as random). 48 bytes a blob and at most 11 for its slot, 36 a pack and the same: below BLOB_INDEX_BYTES for each blob
 * while packs are filled (16 MiB, some hundreds of blobs). A blob may stand in several packs.
 *
 * Places have numbers: 0, 1, ... in the order in which they were added, so that the blobs of a pack follow one another. Who must know something of
 * each blob keeps a bit for each number.
 *
 * Threads: adding excludes all else; finding is for any thread.
 */
#ifndef CORPUSFS_REPOSITORY_BLOB_INDEX_H
#define CORPUSFS_REPOSITORY_BLOB_INDEX_H

#include <stdbool.h>

#include "lib/repository/pack_file.h"

/* What each blob is reckoned at, here and in the manual page. tests/unit/test_blob_memory.c sees to it. */
#define BLOB_INDEX_BYTES 64

struct blob_index;

struct blob_place {
	struct blob_id pack;
	struct pack_blob blob;
};

struct blob_index *blob_index_new(void);
void blob_index_free(struct blob_index *index); /* NULL is fine */

/* Room for so many blobs more, so that adding them copies none. */
void blob_index_reserve(struct blob_index *index, size_t count);
/* Adds what is not there yet in this pack. */
void blob_index_add(struct blob_index *index, const struct blob_id *pack, const struct pack_blob *blobs, size_t count);
bool blob_index_has(const struct blob_index *index, const struct blob_id *id, bool is_tree);
/* The place number `copy` (0, 1, ...) of the blob. */
bool blob_index_find(const struct blob_index *index, const struct blob_id *id, bool is_tree, unsigned copy, struct blob_place *ret_place);
size_t blob_index_count(const struct blob_index *index);
/* The number of the place that blob_index_find() gives for copy 0: it stands for the blob. */
bool blob_index_number(const struct blob_index *index, const struct blob_id *id, bool is_tree, size_t *ret_number);
struct blob_place blob_index_place(const struct blob_index *index, size_t number);

/* In the order in which they were added: pack by pack. */
WARN_UNUSED int blob_index_each(const struct blob_index *index, int (*each)(void *arg, const struct blob_place *place), void *arg);
/* The same of one pack. */
WARN_UNUSED int blob_index_each_of(const struct blob_index *index, const struct blob_id *pack, int (*each)(void *arg, const struct blob_place *place),
				   void *arg);
WARN_UNUSED int blob_index_each_pack(const struct blob_index *index, int (*each)(void *arg, const struct blob_id *pack), void *arg);

/* Those that index files with this mark name. */
WARN_UNUSED int blob_index_each_marked(const struct blob_index *index, const char *mark, int (*each)(void *arg, const struct blob_id *pack), void *arg);
size_t blob_index_packs(const struct blob_index *index);
bool blob_index_has_pack(const struct blob_index *index, const struct blob_id *pack);

/* Adds the packs of an index file, which is JSON. -EBADMSG. */
WARN_UNUSED int blob_index_read(struct blob_index *index, const char *json, size_t len);

/* Writing an index file. */
struct index_writer {
	struct buf json;
	size_t blobs;
};
void index_writer_add(struct index_writer *writer, const struct blob_id *pack, const struct pack_blob *blobs, size_t count);
void index_writer_end(struct index_writer *writer, const struct blob_id *supersedes, size_t count);

/*
 * A mark says which writer put the packs: a field that restic passes over, before the end. Whoever writes the index anew, as prune does, leaves
 * it out.
 */
#define INDEX_MARK_TEXT 33 /* digits and the NUL */
void index_writer_mark(struct index_writer *writer, const char *mark);

#endif
