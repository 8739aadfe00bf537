/*
 * A repository of restic's format, version 2 (restic's doc/design.rst): whole objects that are never changed, all but the key files sealed.
 *
 *   repository_init or repository_open -> repository_load_index -> reading and writing -> repository_close
 *
 * What is written is found by others when repository_writer_end has returned, for the index comes last: packs first, then index files, then the
 * snapshot that names them. A writer that dies leaves packs that no index names, which the next prune removes.
 *
 * Threads: a repository may be read by any threads, each with a repository_reader of its own. While it is read or written, nobody loads its
 * index again, but for repository_load_new_index.
 */
#ifndef CORPUSFS_REPOSITORY_REPOSITORY_H
#define CORPUSFS_REPOSITORY_REPOSITORY_H

#include "lib/chunk/codec.h"
#include "lib/chunk/digest.h"
#include "lib/repository/blob_index.h"
#include "lib/repository/keys.h"
#include "lib/repository/objects.h"

struct object_names {
	ARRAY_FIELDS(struct blob_id);
};

struct repository {
	struct objects *objects;
	struct seal_key key;
	char key_name[KEY_ID_TEXT]; /* of the key file that the password opened */
	char id[BLOB_ID_TEXT];
	unsigned version;
	struct blob_index *index; /* of all packs that index files name */
	struct object_names index_files; /* that are in it, sorted */
	struct object_names bad_index_files; /* of these, damaged ones, which who loads it leniently has passed over */
	bool index_is_whole; /* all of them were read, and none was damaged */
	/*
	 * Who opened it may set these: it is called each second while a lock is waited for (locks.h; `why` is for people), and returns after that second.
	 * Not 0: it is not waited on. NULL: nobody hears of it.
	 */
	int (*waits)(void *arg, const char *why, unsigned second, unsigned seconds);
	void *waits_arg;
};

/* Both take over `objects`, also when they fail. -EEXIST: there is one already. */
WARN_UNUSED int repository_init(struct objects *objects, const char *password, struct repository **ret_repository, struct error *err);
WARN_UNUSED int repository_open(struct objects *objects, const char *password, struct repository **ret_repository, struct error *err);
void repository_close(struct repository *repository); /* NULL is fine */
/* The same one, by another way to its objects, which is taken over; its index is not loaded. Each is closed by itself. */
struct repository *repository_by(const struct repository *repository, struct objects *objects);

/* Adds to an index of the caller's what one index file names. -EBADMSG: it is damaged. */
WARN_UNUSED int repository_read_index_file(struct repository *repository, const struct blob_id *id, struct blob_index *index, struct error *err);

/* Reads all index files. -EBADMSG: one is damaged; what the others name is there all the same if `lenient`. */
WARN_UNUSED int repository_load_index(struct repository *repository, bool lenient, struct error *err);

/* The same, if it is not the index that was read last: another file came, or one went. */
WARN_UNUSED int repository_load_changed_index(struct repository *repository, struct error *err);

/* Reads the index files that came since. `exclusive`: between its two calls nobody else may use the index; the files are read outside of them. */
WARN_UNUSED int repository_load_new_index(struct repository *repository, void (*exclusive)(void *arg, bool begin), void *arg, struct error *err);

/* --- sealed files: index files, snapshots, locks --- */

#define SEALED_FILE_MAX (1ULL << 30)

/* The contents of a sealed file, checked by its name and its seal. -EBADMSG: it is damaged. */
WARN_UNUSED int repository_get_file(struct repository *repository, enum object_kind kind, const char *name, struct buf *ret_json, struct error *err);
/* ret_name has BLOB_ID_TEXT bytes. */
WARN_UNUSED int repository_put_file(struct repository *repository, enum object_kind kind, const struct buf *json, char *ret_name, struct error *err);

/* Seals and opens what is no file of restic's and has a name of its own. -EBADMSG. */
void repository_seal(const struct repository *repository, const struct buf *plain, struct buf *ret_sealed);
WARN_UNUSED int repository_unseal(const struct repository *repository, struct buf *content);

/* Sorted. The array is the caller's to clear. */
WARN_UNUSED int repository_list(struct repository *repository, enum object_kind kind, struct object_names *ret_names, struct error *err);

void object_names_sort(struct object_names *names);
/* Of sorted ones. */
bool object_names_have_id(const struct object_names *names, const struct blob_id *id);
bool object_names_have(const struct object_names *names, const char *name);

/* --- blobs --- */

struct repository_reader;
struct repository_reader *repository_reader_new(struct repository *repository);
void repository_reader_free(struct repository_reader *reader); /* NULL is fine */

/* The plain bytes, verified; of a blob with several copies those of the first good one. -ENOENT: no index names it; -EBADMSG: all copies are bad. */
WARN_UNUSED int repository_read_blob(struct repository_reader *reader, const struct blob_id *id, bool is_tree, struct buf *ret_plain);
/* The same of what was read already: the sealed bytes of the blob as they stand in its pack. */
WARN_UNUSED int repository_open_blob(struct repository_reader *reader, const struct pack_blob *blob, uint8_t *sealed, struct buf *ret_plain);
/* The same of several, hashed side by side, without buffers: `sealed` is overwritten, and the plain bytes lie there or in `room`. */
struct blob_opening {
	const struct pack_blob *blob;
	uint8_t *sealed;      /* NULL: not to be opened */
	uint8_t *room;        /* blob->plain bytes */
	const uint8_t *plain; /* out; NULL: they could not be had */
};
#define OPENINGS_MAX 256
void repository_open_many(struct repository_reader *reader, struct blob_opening *openings, size_t count);
/* The blobs that a pack's own header names. -EBADMSG: it is damaged. */
WARN_UNUSED int repository_read_pack_header(struct repository_reader *reader, const struct blob_id *pack, struct pack_blobs *ret_blobs);

/* --- writing (repository_write.c) --- */

/*
 * A writer collects blobs into packs. `known`: blobs that need not be written, for what is written may rely on them; borrowed.
 * Each thread that adds has a hand of its own, whose packs are not shared.
 */
struct repository_writer;
struct repository_hand;

struct writer_counts {
	uint64_t data_blobs, tree_blobs; /* written */
	uint64_t plain, stored;          /* bytes of them */
	uint64_t packs;
};

struct repository_writer *repository_writer_new(struct repository *repository, const struct blob_index *known);
/*
 * Before anything is written. Its index files have the mark, so that who goes on with what was put finds the packs by it (blob_index_each_marked);
 * `packs` were put by an earlier one with the mark, and count as its own. Their blobs are in `known`.
 */
void repository_writer_go_on(struct repository_writer *writer, const char *mark, const struct object_names *packs);
/* Before anything is written: copies of known blobs in these packs count for nothing. Sorted. */
void repository_writer_pass_over(struct repository_writer *writer, const struct object_names *packs);
/*
 * Before anything is written: whoever is about to put something calls this first, from any thread. Not 0: nothing is put, and that is the failure. So what
 * is written may be made before it is known that it may come there.
 */
void repository_writer_ask(struct repository_writer *writer, int (*may_put)(void *arg, struct error *err), void *arg);
void repository_writer_discard(struct repository_writer *writer); /* before anything is written: it is counted, and goes nowhere */
void repository_writer_free(struct repository_writer *writer); /* what was not ended is lost; NULL is fine */
struct repository_hand *repository_hand_new(struct repository_writer *writer);
/* Puts the packs that the hand has begun, and frees it. */
WARN_UNUSED int repository_hand_end(struct repository_hand *hand, struct error *err);
void repository_hand_drop(struct repository_hand *hand); /* without putting anything */

/* Whether the blob need not be added: it is known, or another hand has it or had it. Any thread. */
bool repository_writer_has(struct repository_writer *writer, const struct blob_id *id, bool is_tree);
/* True: the caller has its bytes and must add it now, for the others rely on it. False: it need not be added. Any thread. */
bool repository_writer_claim(struct repository_writer *writer, const struct blob_id *id, bool is_tree);

/* The most that is read back: restic has no such limit, but memory has. */
#define BLOB_BYTES_MAX ((1U << 30) - (1U << 20))
#define PACK_BYTES_MAX (1U << 30)

/*
 * Adds a blob that the caller has claimed. `packed`: what zstd made of the plain bytes, if `packed_len` is not 0; else the writer
 * compresses at `level` (0: not). -EFBIG: it is longer than BLOB_BYTES_MAX; -ENOSPC, -EIO, ...
 */
struct new_blob {
	struct blob_id id;
	bool is_tree;
	const void *plain;
	size_t len;
	const void *packed;
	size_t packed_len;
	int level;
};
WARN_UNUSED int repository_hand_add(struct repository_hand *hand, const struct new_blob *blob, struct error *err);
/*
 * A pack is named by its SHA-256. Who hashes other things meanwhile does it in less time together with what the pack of data got since the last call
 * (digest_many). Until the next blob is added. NULL: it is not worth while.
 */
struct digest_job *repository_hand_unhashed(struct repository_hand *hand);

/* The names of the packs that were put so far, and of those it goes on with; the caller's to clear. */
struct object_names repository_writer_packs(struct repository_writer *writer);
/* The same of index files, of those it put. */
struct object_names repository_writer_index_files(struct repository_writer *writer);

/* When all hands have ended: writes the last index file. */
WARN_UNUSED int repository_writer_end(struct repository_writer *writer, struct writer_counts *ret_counts, struct error *err);

#endif
