/*
 * The content of a file of a backup, blob by blob. Blobs whose bytes the store has are taken from there. All bytes were verified by their SHA-256
 * before anybody sees them. What comes from the repository is read ahead, over the ends of files (lib/repository/fetch.h).
 *
 *   restore_reader_init -> (restore_content_next ... of one file after another) -> restore_reader_clear
 *
 * A reader belongs to one thread; several may read one repository. Errors: -ENOENT it is missing in the repository, -EBADMSG it is damaged there,
 * others of the place.
 */
#ifndef CORPUSFS_BACKUP_RESTORE_CONTENT_H
#define CORPUSFS_BACKUP_RESTORE_CONTENT_H

#include "lib/backup/content_blobs.h"
#include "lib/repository/fetch.h"

/* Which file is read after that which is read now: the first one for 0, the next for 1, ...; NULL: that is not known. */
typedef const struct node *(*restore_following_fn)(void *arg, size_t number);

struct restore_reader {
	struct repository *repository;
	struct store *store; /* or NULL */
	struct repository_reader *blobs;
	struct fetch *fetch; /* of what is read next */
	restore_following_fn following; /* NULL: the file stands alone */
	void *following_arg;
	struct buf plain;
	void (*reuses)(void *arg); /* what was given so far is not there any more after this; or NULL */
	void *reuses_arg;
	uint64_t local, fetched; /* bytes that came from the store, and from the repository */
};

/* `pool`: its threads help; NULL: there is none. */
void restore_reader_init(struct restore_reader *reader, struct repository *repository, struct store *store, struct pool *pool);
void restore_reader_clear(struct restore_reader *reader);

/* A file, and how far it was read. */
struct restore_content {
	const struct node *node;
	const struct holes *holes;
	size_t blob, hole; /* hole: the next one that the content has no zeros for */
	uint64_t offset;
};

/* 1 and the next stretch, good until the next call, or as long as reader->reuses was not called; 0 at the end. Holes are passed over. */
WARN_UNUSED int restore_content_next(struct restore_reader *reader, struct restore_content *content, const void **ret_data, size_t *ret_len,
				     uint64_t *ret_offset);

/*
 * Whether it is this part of the repository that an error is of, so that others can still be had: it is missing or damaged, or its disk cannot read
 * it. Else it is of the place: nobody answers there, or we may not read, and nothing can be said of what is in it.
 */
bool restore_content_is_damage(struct repository *repository, int code);

/* Reads all of it, to know that it is good. *ret_damage NULL: it is; else what is wrong. An error is of the place. */
WARN_UNUSED int restore_content_check(struct restore_reader *reader, const struct node *node, const struct holes *holes, const char **ret_damage);

#endif
