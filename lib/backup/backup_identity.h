/*
 * The identity of the snapshot that is backed up. Where there is an earlier backup, the store knows the most part of it, and it is computed in a thread
 * of its own beside all else. Else it comes last, and takes from the backup what that has read (lib/identity/content_notes.h).
 *
 * One thread calls. What cannot be computed is the transfer's failure; but what is damaged has no identity, and is backed up all the same: what can be
 * read is worth the more.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_IDENTITY_H
#define CORPUSFS_BACKUP_BACKUP_IDENTITY_H

#include "lib/identity/identity.h"
#include "lib/transfer/transfer.h"

struct backup_identity {
	struct transfer *transfer;
	struct store *store;
	struct view *view;
	const char *dataset, *snapshot; /* for messages */
	char text[IDENTITY_TEXT_LEN];   /* out, after backup_identity_end; "": there is none */
	bool has_thread;
	pthread_t thread;
	atomic_bool is_given_up;
	pthread_mutex_t lock; /* guards has_ended */
	pthread_cond_t changed;
	bool has_ended; /* the thread */
};

void backup_identity_init(struct backup_identity *identity); /* the rest is zero; the first five are set before it is begun */
void backup_identity_begin(struct backup_identity *identity); /* in a thread. Once more: nothing */
/* Waits for it, or computes it, if it was not begun. Nothing if the transfer was stopped. */
void backup_identity_end(struct backup_identity *identity);
void backup_identity_clear(struct backup_identity *identity); /* gives up what was begun and not ended */

#endif
