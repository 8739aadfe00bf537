/*
 * What the parts of a receiver share. Internal to lib/stream. One thread.
 *
 *   applying.c       what all of them need
 *   apply.c          one frame after the other; where a stream can go on
 *   apply_names.c    names, directories, attributes
 *   apply_content.c  what is in files
 *
 * Inodes of the base that have lost a name, and get another one later, wait in STAGING, in the root of the hidden dataset, under their label. No
 * file of a dataset can have that name.
 *
 * Errors: those of a stream that is wrong are -EBADMSG, set by applying_bad(), or -EPERM; others are the store's.
 */
#ifndef CORPUSFS_STREAM_APPLYING_H
#define CORPUSFS_STREAM_APPLYING_H

#include "lib/chunk/codec.h"
#include "lib/chunk/digest.h"
#include "lib/store/receiving.h"
#include "lib/stream/frames_in.h"
#include "lib/stream/receive.h"
#include "lib/tree/files/bulk.h"

#define STAGING ".snapshots"

/* A small new file, whose content is gathered until it is there. */
struct gathered {
	struct stream_entry entry; /* points into `body` */
	struct buf body, content;
	uint64_t directory; /* inode */
};

struct applying {
	struct store *store;
	const struct receive_options *options;
	struct receive_result *result;
	struct view *view;
	uint32_t hidden; /* id of the hidden dataset */
	struct stream_position position;
	uint64_t last_label, last_ino; /* the label that was asked for last */
	bool is_complete;              /* the root came: nothing may follow */
	bool is_between;               /* no frame is half applied */
	bool is_wrong;                 /* the stream says what cannot be */

	/* What is open between NODE or META and LEAVE. */
	uint64_t open_label; /* 0: nothing */
	uint64_t open_size;
	struct inode *inode; /* or NULL: it is gathered */
	struct gathered gathered;

	/* Small files that wait to be added together. */
	ARRAY(struct gathered) waiting;
	size_t waiting_bytes; /* of content and of attributes */

	struct codec *codec;
	struct digest *digest;
	struct buf plain;
	uint64_t saved_step, saved_bytes; /* at the last point where it can go on */
	unsigned saves;
	struct error *err;
};

/* The stream says what cannot be. Always -EBADMSG. */
int applying_bad(struct applying *applying, const char *format, ...) PRINTF_LIKE(2, 3);
/* A result of the store: what no valid stream meets is the stream's fault. */
WARN_UNUSED int applying_result(struct applying *applying, const char *name, int result);
WARN_UNUSED int applying_ino(struct applying *applying, uint64_t label, uint64_t *ret_ino);
WARN_UNUSED int applying_bind(struct applying *applying, uint64_t label, uint64_t ino);
/* The extended attributes of an entry as files.h takes them; the array is the caller's. */
struct xattr_list {
	ARRAY_FIELDS(struct xattr_init);
};
void applying_xattrs(const struct stream_attributes *attributes, struct xattr_list *ret_list);

/* --- apply.c --- */
/* Reads and applies all frames behind the header. */
WARN_UNUSED int applying_frames(struct applying *applying, struct frames_in *frames);
/* The stream can go on from here, whatever happens. */
WARN_UNUSED int applying_save(struct applying *applying);

/* --- apply_names.c --- */
WARN_UNUSED int applying_old(struct applying *applying, const struct stream_entry *entry);
WARN_UNUSED int applying_node(struct applying *applying, const struct stream_entry *entry);
WARN_UNUSED int applying_name(struct applying *applying, const struct stream_entry *entry);
WARN_UNUSED int applying_meta(struct applying *applying, const struct stream_entry *entry);
WARN_UNUSED int applying_left_directory(struct applying *applying, const struct stream_entry *entry);

/* --- apply_content.c --- */
/* A new file that is no directory; what has content stays open. */
WARN_UNUSED int applying_new_file(struct applying *applying, uint64_t directory, const struct stream_entry *entry);
WARN_UNUSED int applying_open(struct applying *applying, uint64_t label, uint64_t ino, uint64_t size);
WARN_UNUSED int applying_data(struct applying *applying, const struct stream_data *data);
WARN_UNUSED int applying_space(struct applying *applying, const struct stream_space *space);
WARN_UNUSED int applying_leave(struct applying *applying, const struct stream_entry *entry); /* of what is open */
/* What is gathered or waits is in the view from then on, under its name. */
WARN_UNUSED int applying_flush(struct applying *applying); /* what waits */
WARN_UNUSED int applying_settle(struct applying *applying); /* all; what is open is an inode */
void applying_content_clear(struct applying *applying);

#endif
