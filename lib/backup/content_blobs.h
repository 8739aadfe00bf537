/*
 * The content of a file as blobs of a repository. A chunk that the file has whole is one blob, named as it is, stored as it is; what the file
 * has of chunks in part is cut together into blobs of its own; a hole is blobs of zeros, and noted; where a file has more than HOLES_MAX bytes in
 * holes, they are noted only. Chunks are not joined to larger blobs, which zstd would make smaller: tests/bench/RESULTS.md has the figures, and what
 * it would cost.
 *
 * One thread each. Errors: -EIO the content is damaged, -EFBIG it has more holes than there may be blobs of zeros for, others of the repository.
 */
#ifndef CORPUSFS_BACKUP_CONTENT_BLOBS_H
#define CORPUSFS_BACKUP_CONTENT_BLOBS_H

#include "lib/chunk/digest.h"
#include "lib/chunk/digest_streams.h"
#include "lib/chunk/looks.h"
#include "lib/identity/content_notes.h"
#include "lib/identity/content_watch.h"
#include "lib/repository/node.h"
#include "lib/repository/repository.h"
#include "lib/store/store.h"
#include "lib/transfer/transfer.h"
#include "lib/tree/records/scan.h"

#define HOLES_MAX (16ULL << 40)

struct hole {
	uint64_t offset, length;
};

struct holes {
	ARRAY_FIELDS(struct hole);
	bool left_out; /* the content has no zeros for them */
};

/* What a thread makes blobs with. */
struct blob_maker {
	struct transfer *transfer; /* its bytes are counted, and it is asked whether to go on */
	struct store *store;
	const struct scan *scan;
	struct repository_writer *writer;
	struct repository_hand *hand;
	bool fills_holes; /* all of them; set after blob_maker_init */
	struct digest *digest;
	struct chunk_looks *looks;
	struct buf plain; /* room */
	struct content_notes *notes; /* NULL: the contents of files are not noted; set after blob_maker_init, freed by blob_maker_end */
	struct blob_file *watched;   /* whose content goes by, or NULL: */
	struct digest *content;
	struct content_watch watch;     /* of a long file */
	struct digest_streams *streams; /* of short ones */
	uint64_t streamed;              /* bytes of the file */
	bool has_zeros;          /* the longest blob of zeros was added, under this name */
	struct blob_id zeros;
	struct error err; /* why the repository could not be written */
};

void blob_maker_init(struct blob_maker *maker, struct transfer *transfer, struct store *store, const struct scan *scan,
		     struct repository_writer *writer);
/* Puts what is not yet in the repository, unless `drop`. */
WARN_UNUSED int blob_maker_end(struct blob_maker *maker, bool drop);

/* A regular file, whose blobs are added to node->content, and its holes to `holes`. */
struct blob_file {
	uint64_t ino;
	struct node *node;
	struct holes *holes;
	int result; /* 0 before and after, if nothing fails */
	/* Of the maker: [0, at) is done, but for what is in the piece. */
	uint64_t size, allocated, at;
	struct content_note note;
	bool was_watched;
	bool is_noted; /* the digest of its content is known */
	bool is_inline;
	uint64_t mapped, mapped_inside, in_holes;
	struct buf piece;
};

/* Of several files at once: chunks that are neighbours are read together, and hashed side by side. */
void blob_maker_files(struct blob_maker *maker, struct blob_file *files, size_t count);

/* One blob of bytes that are in memory; -errno with maker->err. */
WARN_UNUSED int blob_maker_bytes(struct blob_maker *maker, bool is_tree, const void *data, size_t len, struct blob_id *ret_id);

#endif
