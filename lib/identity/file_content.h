/*
 * The content of one regular file: its digest, and the SHA-256 of its bytes. Internal to lib/identity; file_content.c says what is cheap.
 * Threads: any; a source may serve several at a time.
 */
#ifndef CORPUSFS_IDENTITY_FILE_CONTENT_H
#define CORPUSFS_IDENTITY_FILE_CONTENT_H

#include "lib/chunk/digest.h"
#include "lib/store/catalog.h"
#include "lib/tree/records/scan.h"

/* What is looked at: the files that a line sees. */
struct node_source {
	struct store *store;
	struct scan scan;             /* of a line: what is seen stays the same */
	bool (*cancelled)(void *arg); /* or NULL; polled by the calling thread only */
	void *arg;
	atomic_uint_fast64_t contents; /* files whose content was read and hashed */
};

#define NODE_IN_STEP 1U /* in a step of a pool job: what takes long is refused with -EINPROGRESS */

/*
 * Sets what the record says of the content. `old`, which is of epoch `old_epoch`, may be NULL: the newest digest record that the line sees.
 * `digest` is empty before and after. -EIO, -ECANCELED, -EINPROGRESS.
 */
WARN_UNUSED int file_content_digest(struct node_source *source, const struct scan_inode *inode, const struct digest_record *old,
				    uint64_t old_epoch, unsigned flags, struct digest *digest, struct digest_record *record);

/* Bytes of zeros that the SHA-256 of a file may cost. */
#define SHA256_ZEROS_MAX (256ULL << 30)
/* The SHA-256 of all bytes, zeros one by one. -EFBIG: it has more than SHA256_ZEROS_MAX bytes in holes. */
WARN_UNUSED int file_content_sha256(struct node_source *source, const struct scan_inode *inode, uint8_t ret_sha256[DIGEST_LEN]);

#endif
