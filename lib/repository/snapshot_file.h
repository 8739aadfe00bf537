/* A snapshot of a repository: a JSON file that names the tree of a directory, when it was taken, of what, by whom. Not a snapshot of a store. */
#ifndef CORPUSFS_REPOSITORY_SNAPSHOT_FILE_H
#define CORPUSFS_REPOSITORY_SNAPSHOT_FILE_H

#include "lib/repository/repository.h"

struct snapshot_texts {
	ARRAY_FIELDS(char *); /* owned */
};

struct snapshot_file {
	char name[BLOB_ID_TEXT]; /* of its file; read only */
	struct timespec time;
	struct blob_id tree;
	bool is_rewritten; /* it stands for another one, of which somebody changed what is in it or said of it: restic's "rewrite", "repair", "tag", "copy" */
	bool has_parent;
	struct blob_id parent;
	struct snapshot_texts paths, tags;
	char *host, *user;
	uint32_t uid, gid;
};

void snapshot_file_clear(struct snapshot_file *snapshot);

/* -ENOENT, -EBADMSG with a text. */
WARN_UNUSED int snapshot_file_read(struct repository *repository, const char *name, struct snapshot_file *ret_snapshot, struct error *err);
/* ret_name has BLOB_ID_TEXT bytes. */
WARN_UNUSED int snapshot_file_write(struct repository *repository, const struct snapshot_file *snapshot, char *ret_name, struct error *err);

struct snapshot_files {
	ARRAY_FIELDS(struct snapshot_file);
	struct object_names damaged; /* that were passed over; sorted */
};
void snapshot_files_clear(struct snapshot_files *snapshots);
/* All of them, oldest first; a damaged one is a failure, unless `lenient`: then it is passed over. */
WARN_UNUSED int snapshot_files_read(struct repository *repository, bool lenient, struct snapshot_files *ret_snapshots, struct error *err);

bool snapshot_file_has_tag(const struct snapshot_file *snapshot, const char *tag);
/* The text behind "KEY=" of a tag, or NULL. */
const char *snapshot_file_tag_value(const struct snapshot_file *snapshot, const char *key);

#endif
