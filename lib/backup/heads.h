/*
 * Published versions of datasets in a repository. Each is a head object, put once and never changed; the one with the highest number is the
 * dataset's head, which is what readers get who name no version. So a reader sees the old version or the new one.
 *
 * A head object lies where restic does not look (OBJECT_HEAD). Its name says of which dataset it is and which number it has, and two that would be
 * the next of a dataset have the same name: where the place keeps writers apart (objects_conditional.h), or etcd does (objects_etcd.h), only one of
 * them gets in. Where heads are in etcd, who does not ask it is refused (-EOPNOTSUPP): the copies that he sees may not be the newest. It is sealed as
 * all files of the repository are: who cannot open the repository learns no names. In it stands, as JSON:
 *
 *   {"version": 1, "dataset", "number", "name": of the version, "backup": the snapshot file's name, "identity", "by": "STORE/DATASET NUMBER" of who
 *    published it, "host", "user", "published", "taken": times of RFC 3339, "added", "stored": bytes that came with it}
 *
 * Threads: one for each repository.
 */
#ifndef CORPUSFS_BACKUP_HEADS_H
#define CORPUSFS_BACKUP_HEADS_H

#include "lib/repository/repository.h"

struct head {
	char object[BLOB_ID_TEXT]; /* its name */
	uint64_t number;           /* from 1 to HEAD_NUMBER_MAX */
	bool is_damaged;           /* nothing else is known of it, but perhaps `why` */
	char *why;                 /* of a newest one that is damaged in etcd, whose number is 0 here: which key that is */
	char *dataset, *name;      /* owned, as all texts are */
	char backup[BLOB_ID_TEXT];
	char *identity, *by, *host, *user;
	struct timespec published, taken;
	uint64_t added, stored;
};
void head_clear(struct head *head);
struct head head_copy(const struct head *head);

struct heads {
	ARRAY_FIELDS(struct head);
};
void heads_clear(struct heads *heads);

#define HEAD_MAX (64U << 10) /* bytes of an object */

/* Objects of other numbers are no heads. */
#define HEAD_NUMBER_MAX (UINT64_C(1) << 62)

/*
 * Those of a dataset, or all (NULL), those of one dataset together, the oldest first. A damaged one is in it; one whose number nobody knows, as its key
 * in etcd is damaged, only in the list of all: asked for the dataset alone, these and all functions below fail with -EBADMSG.
 */
WARN_UNUSED int heads_read(struct repository *repository, const char *dataset, struct heads *ret_heads, struct error *err);
/* The same for those of higher numbers alone. */
WARN_UNUSED int heads_read_after(struct repository *repository, const char *dataset, uint64_t number, struct heads *ret_heads, struct error *err);
/* Whether it is the last of its dataset in what heads_read gave: the dataset's head. Numbers of other datasets say nothing of that. */
bool head_is_newest(const struct heads *heads, size_t i);
/* -EBADMSG: of a dataset's newest one in the list of all nobody knows which it is. */
WARN_UNUSED int heads_check_newest(const struct heads *heads, struct error *err);
/* The head that needs this backup, of all that there are: a dataset's newest one, and where that is damaged, the newest that is not. NULL: none does. */
const struct head *heads_keeping(const struct heads *heads, const char *backup);
/* "DATASET", its head, or "DATASET@NAME", a version. -ENOENT; -EBADMSG: it is damaged. */
WARN_UNUSED int head_find(struct repository *repository, const char *text, struct head *ret_head, struct error *err);

/*
 * The dataset's head, if it has a higher number: 1; else 0. Asks for this dataset's alone: etcd for its key, a place for the names that begin as its
 * heads' do. -EBADMSG: it is damaged.
 */
WARN_UNUSED int head_newer(struct repository *repository, const char *dataset, uint64_t number, struct head *ret_head, struct error *err);

/* Whether the backup that it names is there. -ENOENT: somebody removed it. */
WARN_UNUSED int head_check_backup(struct repository *repository, const struct head *head, struct error *err);

/* After `last`, the head, there is no number left for another one. NULL: the store itself claims to come from such a version. */
int head_too_many(const char *dataset, const struct head *last, struct error *err);

/* What tells a dataset of a repository from all others: some digits. `out` has HEAD_DATASET_TEXT bytes. */
#define HEAD_DATASET_TEXT 49
void head_dataset_text(const struct repository *repository, const char *dataset, char *out);

/*
 * Puts it. `conditional`: the place keeps writers apart; otherwise no other may write meanwhile. -EEXIST: another one has this number. ret_unknown:
 * after a failure, that it may be there all the same.
 */
WARN_UNUSED int head_put(struct repository *repository, struct head *head, bool conditional, bool *ret_unknown, struct error *err);

#endif
