/*
 * An archive as a source. Two threads take turns: one reads members into its portion while the other applies its own.
 *
 *   reading (lock `reading`) --portion full--> applying (lock `applying`, taken before `reading` is given up) --> waits to read
 *
 * So members are applied in the archive's order, and the dataset ends up as tar(1) would leave it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/locks.h"
#include "lib/transfer/acl_parse.h"
#include "lib/transfer/archive_path.h"
#include "lib/transfer/import_apply.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/files/acl.h"

#define THREADS 2
#define PORTION_MEMBERS 4096
#define PORTION_TEXT (8U << 20) /* bytes of names and attributes: an archive may be as deep as it likes */
#define TELL_EVERY_MS 200

struct portion {
	ARRAY(struct archived) members;
	struct room room;
	size_t text; /* bytes of names and attributes */
};

struct archive_import {
	struct import *import;
	struct archive_in *in;

	struct mutex applying; /* guards `apply`; taken after `reading` */
	struct apply *apply;
	struct mutex reading; /* guards `in` and all below */
	bool ended;
	struct trail *trail; /* the directory of the last member */
	char *last;          /* the member that was last read wholly */
	uint64_t cut; /* names whose leading slash was taken off */
};

/* --- applying --- */

/* All that was read so far is in the dataset; `applying` is held. */
static void apply_portion(struct archive_import *archive, struct portion *portion)
{
	for (size_t i = 0; i < portion->members.count; i++) {
		apply_member(archive->apply, &portion->members.items[i]);
		archived_clear(&portion->members.items[i]);
	}
	apply_flush(archive->apply);
	array_reset(&portion->members);
	room_reset(&portion->room);
	portion->text = 0;
}

static void apply_now(struct archive_import *archive, struct portion *portion)
{
	mutex_take(&archive->applying);
	apply_portion(archive, portion);
	mutex_give(&archive->applying);
}

static bool is_full(const struct portion *portion)
{
	return portion->members.count >= PORTION_MEMBERS || portion->text > PORTION_TEXT ||
	       portion->room.used > portion->room.size - portion->room.size / 8;
}

/* --- what a member is; `reading` is held --- */

static int damaged(struct archive_import *archive, const char *path, int code)
{
	AUTO_FREE char *in = path ? xasprintf(", in member %s", path) : xstrdup("");
	const bool is_first = !archive->last || !*archive->last; /* or the root came before it */
	AUTO_FREE char *after = !is_first ? xasprintf("after member %s", archive->last) : xstrdup("at its first member");
	const char *how = code == -EBADMSG ? "is damaged" : "cannot be read any more";
	struct transfer *transfer = &archive->import->transfer;

	if (transfer_stopped(transfer))
		return code;
	atomic_store(&archive->import->source_failure, code);
	transfer_fail(transfer, code, "%s %s %s%s: %s; what came before is complete", archive->import->options->source, how, after, in,
	              archive_in_problem(archive->in));
	return code;
}

static struct trail *trail_of(struct archive_import *archive, const char *path, const char *name)
{
	AUTO_FREE char *dir = name > path ? xasprintf("%.*s", (int)(name - path - 1), path) : NULL;

	if (dir && archive->trail && strcmp(trail_name(archive->trail), dir) == 0)
		return trail_ref(archive->trail);
	trail_put(archive->trail);
	archive->trail = dir ? trail_new(NULL, dir) : NULL;
	return trail_ref(archive->trail);
}

static void take_attributes(struct import *import, struct member *member, const struct archive_found *found)
{
	for (size_t i = 0; i < found->xattr_count; i++)
		member_add_xattr(import, member, found->xattrs[i].name, found->xattrs[i].value, found->xattrs[i].len);
	if (found->acl_access)
		member_add_acl(import, member, ACL_ACCESS, found->acl_access);
	if (found->acl_default)
		member_add_acl(import, member, ACL_DEFAULT, found->acl_default);
	member_count_acl(import, member);
	if (found->has_nfs4_acl)
		member_leave_out(import, member, "NFSv4 ACL", "Linux filesystems have POSIX ACLs");
	for (size_t i = 0; i < found->unknown_count; i++)
		member_note_left_out(import, member, found->unknown[i], "import does not know it");
	if (found->warning)
		member_problem(import, member, -EINVAL, found->warning);
}

/* False: it cannot come in, and the user was told why. */
static bool take_description(struct archive_import *archive, const struct archive_found *found, struct archived *archived)
{
	const struct archive_member *member = &found->member;
	struct transfer *transfer = &archive->import->transfer;
	bool is_cut = false, is_from_cut = false;
	const char *why = found->problem, *slash;

	*archived = (struct archived){0};
	if (!why)
		archived->path = archive_path_plain(member->path, false, &why, &is_cut);
	if (!why && member->hardlink)
		archived->from = archive_path_plain(member->hardlink, true, &why, &is_from_cut);
	if (!why && !*archived->path && (archived->from || !S_ISDIR(member->mode)))
		why = "its name is empty";
	if (!why && archived->from && !*archived->from)
		why = "what it is a hard link of is a directory";
	if (why) {
		transfer_problem(transfer, "", member->path ? member->path : "?", -EINVAL, why);
		archived_clear(archived);
		return false;
	}
	archive->cut += is_cut;
	slash = strrchr(archived->path, '/');
	archived->name = slash ? slash + 1 : archived->path;
	archived->target = xstrdup_or_null(member->target);
	archived->member = (struct member){.trail = trail_of(archive, archived->path, archived->name), .name = archived->name,
	                                   .mode = member->mode, .uid = member->uid, .gid = member->gid, .rdev = member->rdev,
	                                   .size = member->size, .target = archived->target, .mtime = member->mtime,
	                                   .atime = member->has_atime ? member->atime : member->mtime};
	if (S_ISLNK(member->mode))
		archived->member.mode = S_IFLNK | 0777;
	take_attributes(archive->import, &archived->member, found);
	return true;
}

/* --- content; `reading` is held --- */

/* The member's content into memory. Negative: it is damaged. */
static int read_small(struct archive_import *archive, struct archived *archived, uint8_t *room)
{
	uint64_t offset, done = 0;
	const void *data;
	size_t len;
	int r;

	while ((r = archive_in_data(archive->in, &data, &len, &offset)) == 1) {
		if (offset != done || len > archived->member.size - done)
			return archive_in_is_wrong(archive->in, "it holds more than it says");
		memcpy(room + offset, data, len);
		done += len;
	}
	archived->data = room;
	return r == 0 && done < archived->member.size ? archive_in_is_wrong(archive->in, "it holds less than it says") : r;
}

static int take_small(struct archive_import *archive, struct portion *portion, struct archived *archived)
{
	uint8_t *room;
	int r;

	if (!room_has(&portion->room, archived->member.size))
		apply_now(archive, portion);
	room = room_take(&portion->room, archived->member.size);
	r = room ? read_small(archive, archived, room) : -ECANCELED;
	if (r < 0)
		archived_clear(archived);
	else
		array_add(&portion->members, *archived);
	return r;
}

/* Piece by piece into an inode without a name. */
static int read_big(struct archive_import *archive, const struct member *member, struct inode *inode, bool has_holes, int *ret_written)
{
	struct transfer *transfer = &archive->import->transfer;
	uint64_t offset, end = 0, done = 0;
	const void *data;
	size_t len;
	int r, written = 0;

	while ((r = archive_in_data(archive->in, &data, &len, &offset)) == 1 && written == 0) {
		if (offset > member->size || len > member->size - offset || (!has_holes && offset != done))
			return archive_in_is_wrong(archive->in, "it holds more than it says");
		written = transfer_stopped(transfer) ? -ECANCELED : inode_write(inode, offset, data, len, 0);
		end = offset + len;
		done += len;
		atomic_fetch_add(&transfer->bytes, len);
	}
	*ret_written = written;
	if (r == 0 && !has_holes && end < member->size)
		return archive_in_is_wrong(archive->in, "it holds less than it says");
	return MIN(r, 0);
}

/* Of a file that is there, it must be certain that it came from this member: its content is not compared. */
static bool is_there(struct archive_import *archive, const struct archived *archived)
{
	struct attr attr;

	if (!apply_is_there(archive->apply, archived, &attr) || archived->member.size <= BIG_FILE || !archive_in_is_single(archive->in, archived->path))
		return false;
	member_skipped(archive->import, &attr);
	return true;
}

static int stream(struct archive_import *archive, const struct archived *archived, bool has_holes)
{
	struct import *import = archive->import;
	struct inode *inode;
	int written = 0, r;

	if (stream_begin(import, &archived->member, &inode) < 0) {
		apply_missed(archive->apply, archived);
		return 0;
	}
	r = read_big(archive, &archived->member, inode, has_holes, &written);
	if (r == 0)
		member_result(import, &archived->member, written);
	if (!stream_end(import, &archived->member, inode, r < 0 ? r : written))
		apply_missed(archive->apply, archived);
	return r;
}

/* All before it is added first: then it is known whether it is there already, and its name comes after theirs. */
static int take_big(struct archive_import *archive, struct portion *portion, struct archived *archived, bool has_holes)
{
	int r = 0;

	mutex_take(&archive->applying);
	apply_portion(archive, portion);
	if (apply_place(archive->apply, archived) && !is_there(archive, archived))
		r = stream(archive, archived, has_holes);
	mutex_give(&archive->applying);
	archived_clear(archived);
	return r;
}

/* --- reading; `reading` is held --- */

static void note_progress(struct archive_import *archive)
{
	struct transfer *transfer = &archive->import->transfer;
	uint64_t position = archive_in_position(archive->in), size = archive_in_size(archive->in);
	uint64_t done = atomic_load(&transfer->bytes) + atomic_load(&transfer->skipped_bytes), total = archive_in_total(archive->in);

	if (total > 0)
		atomic_store(&transfer->total, total);
	else if (size > 0 && position > 0)
		atomic_store(&transfer->total, (uint64_t)((double)done * (double)size / (double)position));
}

static int take_member(struct archive_import *archive, struct portion *portion, const struct archive_found *found)
{
	struct import *import = archive->import;
	struct archived archived;
	AUTO_FREE char *path = NULL;
	bool is_file, is_small;
	int r = 0;

	if (!take_description(archive, found, &archived))
		return 0;
	path = xstrdup(archived.path);
	is_file = S_ISREG(archived.member.mode) && !archived.from;
	is_small = !found->member.has_holes && archived.member.size <= MIN(IMPORT_PIECE, import->batch_bytes);
	portion->text += strlen(path);
	for (size_t i = 0; i < archived.member.xattrs.count; i++)
		portion->text += archived.member.xattrs.items[i].len;
	if (!is_file)
		array_add(&portion->members, archived);
	else
		r = is_small ? take_small(archive, portion, &archived) : take_big(archive, portion, &archived, found->member.has_holes);
	if (r < 0)
		return damaged(archive, path, r);
	free(archive->last);
	archive->last = steal_ptr(path);
	return 0;
}

/* One member; false when no more can be read. */
static bool take_next(struct archive_import *archive, struct portion *portion)
{
	struct transfer *transfer = &archive->import->transfer;
	struct archive_found found;
	int r = archive_in_next(archive->in, &found);

	if (r < 0)
		damaged(archive, NULL, r);
	if (r == 0 && !archive_in_has_end(archive->in))
		transfer_problem(transfer, "", archive->import->options->source, -EBADMSG,
		                 "it does not say that it ends where it does: something may have been cut off");
	if (r == 0 && archive_in_has_more(archive->in))
		transfer_note(transfer, "more follows the end of %s, which tar reads with -i, and import does not: the first of several archives came in",
		              archive->import->options->source);
	if (r <= 0 || transfer_stopped(transfer) || take_member(archive, portion, &found) < 0)
		return false;
	note_progress(archive);
	return true;
}

static void archive_main(void *arg)
{
	struct archive_import *archive = arg;
	struct portion portion = {0};
	bool ended = false;

	ended = room_init(&portion.room, archive->import) < 0;
	while (!ended) {
		mutex_take(&archive->reading);
		while (!archive->ended && !is_full(&portion))
			archive->ended = !take_next(archive, &portion);
		ended = archive->ended;
		mutex_take(&archive->applying);
		mutex_give(&archive->reading);
		apply_portion(archive, &portion);
		mutex_give(&archive->applying);
	}
	array_clear(&portion.members);
	room_clear(&portion.room);
}

/* --- the whole --- */

static bool is_stopped(void *arg, uint64_t position, uint64_t size)
{
	struct import *import = arg;
	uint64_t now = clock_ms();

	if (import->opening && now - import->told_ms >= TELL_EVERY_MS) {
		import->told_ms = now;
		transfer_tell_part(&import->transfer, position > 0 ? "check" : "wait", position, size);
	}
	return transfer_stopped(&import->transfer);
}

static int room_to_keep(void *arg, size_t len)
{
	struct import *import = arg;

	return committer_check_space(store_tree(import->store), len);
}

int import_archive_open(struct import *import, int fd, struct error *err)
{
	struct archive_in_options options = {.fd = fd, .keep = {.dir = store_dir_fd(import->store), .room = room_to_keep, .arg = import},
	                                     .keep_name = store_path(import->store), .stopped = is_stopped, .arg = import};
	struct error why = {0};
	int r;

	import->opening = true;
	r = archive_in_new(&options, &import->archive, &why);
	import->opening = false;
	if (transfer_stopped(&import->transfer))
		return error_set(err, -ECANCELED, "cancelled before anything was imported");
	if (r < 0) {
		error_set(err, r, "%s: %s; nothing was imported", import->options->source, why.text);
		if (why.hint[0])
			error_hint(err, "%s", why.hint);
	}
	return r;
}

void import_archive(struct import *import)
{
	struct archive_import archive = {.import = import, .in = import->archive, .apply = apply_new(import)};
	transfer_fn functions[THREADS] = {archive_main, archive_main};

	mutex_init(&archive.applying, LOCK_IMPORT_APPLY);
	mutex_init(&archive.reading, LOCK_IMPORT_READ);
	transfer_run(&import->transfer, functions, THREADS, &archive);
	if (archive.cut > 0)
		transfer_note(&import->transfer, "the leading / of %llu name%s was taken off", (unsigned long long)archive.cut, archive.cut == 1 ? "" : "s");
	acl_names_free(import->acl_names);
	import->acl_names = NULL;
	apply_free(archive.apply);
	trail_put(archive.trail);
	free(archive.last);
	mutex_clear(&archive.reading);
	mutex_clear(&archive.applying);
}
