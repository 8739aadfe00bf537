/* Looking for wanted pieces in a repository. A chunk of a store that is backed up whole is a blob of the same name; what restic cut is not. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/backup/backup_find.h"
#include "lib/backup/restore_source.h"
#include "lib/repository/blob_set.h"
#include "lib/repository/locks.h"
#include "lib/transfer/archive_in.h"
#include "lib/verify/repair_look.h"

/* Blobs that cannot be read are passed over: the same content may be elsewhere. Where nobody answers, nothing more is asked. */
static int look_at_blobs(struct repair_look *look, struct repository *repository)
{
	struct repository_reader *reader = repository_reader_new(repository);
	const size_t count = wanted_left(look->wanted);
	AUTO_FREE struct wanted_piece *pieces = wanted_list(look->wanted);
	AUTO_BUF plain = BUF_INIT;
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		struct blob_id id;
		int r;

		memcpy(id.bytes, pieces[i].sha256, BLOB_ID_LEN);
		if (!blob_index_has(repository->index, &id, false))
			continue;
		buf_reset(&plain);
		r = repository_read_blob(reader, &id, false, &plain);
		if (r < 0 && objects_is_away(r)) {
			(void)objects_failed(repository->objects, r, "blobs cannot be read", &look->problem);
			break;
		}
		look->unread += r < 0;
		look->bytes += plain.len;
		if (r == 0)
			result = wanted_look_whole(look->wanted, plain.data, plain.len);
		if (result == 0 && look->progress && look->progress(look->arg, look->files, look->bytes))
			result = -ECANCELED;
	}
	repository_reader_free(reader);
	return result;
}

/* Content that was looked at: the same file stands in many backups. */
static bool is_new(struct blob_set *seen, const struct node *node)
{
	struct blob_id id = blob_id_of(node->content.items, node->content.count * sizeof(struct blob_id));

	return node->content.count > 0 && blob_set_put(seen, &id, false);
}

static int look_at_files(struct repair_look *look, struct restore_source *source, struct blob_set *seen)
{
	struct archive_source members = restore_source_members(source);
	struct archive_in *archive = archive_in_over(&members);
	struct archive_found found;
	int result = 0, r = 0;

	while (result == 0 && wanted_left(look->wanted) > 0 && (r = archive_in_next(archive, &found)) == 1)
		if (!found.problem && S_ISREG(found.member.mode) && !found.member.hardlink && is_new(seen, restore_source_node(source)))
			result = repair_look_member(look, archive);
	if (result == 0 && r < 0)
		error_set(&look->problem, r, "%s", archive_in_problem(archive));
	archive_in_free(archive);
	return result;
}

static int look_at_snapshot(struct repair_look *look, struct repository *repository, const struct snapshot_file *snapshot, struct blob_set *seen)
{
	struct restore_source_options options = {.repository = repository, .snapshot = snapshot};
	struct restore_source *source = NULL;
	struct error err = {0};
	int result = restore_source_new(&options, &source, &err);

	if (result < 0)
		look->problem = err;
	else
		result = look_at_files(look, source, seen);
	restore_source_free(source);
	return look->problem.code == result ? 0 : result;
}

static int look_at_all(struct repair_look *look, struct repository *repository, struct error *err)
{
	struct snapshot_files snapshots = {0};
	struct blob_set seen = {0};
	int result = snapshot_files_read(repository, true, &snapshots, err);

	for (size_t i = snapshots.count; i > 0 && result == 0 && wanted_left(look->wanted) > 0; i--)
		/* of our own backups the blobs tell all that whole chunks can */
		if (!snapshot_file_has_tag(&snapshots.items[i - 1], "corpusfs"))
			result = look_at_snapshot(look, repository, &snapshots.items[i - 1], &seen);
	blob_set_clear(&seen);
	snapshot_files_clear(&snapshots);
	return result;
}

static int look_at_one(struct repair_look *look, struct repository *repository, const char *backup, struct error *err)
{
	struct snapshot_file snapshot = {0};
	struct blob_set seen = {0};
	int result = backup_find(repository, backup, &snapshot, NULL, err);

	if (result == 0)
		result = look_at_snapshot(look, repository, &snapshot, &seen);
	blob_set_clear(&seen);
	snapshot_file_clear(&snapshot);
	return result;
}

int repair_look_backups(struct repair_look *look, struct repository *repository, const char *backup, struct error *err)
{
	struct repository_lock *lock = NULL;
	int result = repository_lock_take_to_read(repository, &lock, err);

	if (result == 0) {
		result = repository_load_index(repository, true, &look->problem);
		/* what can be read of a damaged index is used */
		if (result == -EBADMSG)
			result = 0;
		else if (result < 0)
			*err = look->problem;
	}
	if (result == 0)
		result = look_at_blobs(look, repository);
	if (result == 0 && wanted_left(look->wanted) > 0 && !look->blobs_only)
		result = backup ? look_at_one(look, repository, backup, err) : look_at_all(look, repository, err);
	repository_lock_release(lock);
	return result;
}
