/*
 * Who has read and verified all of a snapshot's file notes the digest of its content: then the identity of the snapshot is computed without reading it
 * once more. What cannot be noted is read. One thread; the snapshot is held meanwhile.
 */
#ifndef CORPUSFS_IDENTITY_CONTENT_NOTES_H
#define CORPUSFS_IDENTITY_CONTENT_NOTES_H

#include "lib/identity/content_digest.h"
#include "lib/store/store.h"

struct content_notes;

/* NULL: nothing is to be noted, for the identity is known, or nothing can be kept. The calls do nothing then. */
struct content_notes *content_notes_new(struct store *store, struct view *view);
void content_notes_free(struct content_notes *notes);

/* A regular file, as its record that the snapshot sees has it. */
struct content_note {
	uint64_t ino, epoch; /* epoch: of the record */
	uint32_t mode;
	uint64_t size, allocated; /* allocated: bytes of all its extents */
	uint8_t content[DIGEST_LEN];
	bool is_sparse;
};
void content_notes_add(struct content_notes *notes, const struct content_note *note);

#endif
