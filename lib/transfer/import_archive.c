/*
 * An archive as a source. Two threads take turns: one reads members into its batch while the other adds its own to the dataset.
 *
 *   reading (lock `reading`) --batch full--> adding (lock `adding`, taken before `reading` is given up) --> waits to read
 *
 * So members are added in the archive's order, and of two of one name the later wins, as tar(1) has it. Links come last.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/transfer/import_parts.h"

#define THREADS 2
#define MADE_MODE 0755

/* A directory of the archive, by its path in it without "." and trailing slashes. */
struct known_dir {
	char *path;
	uint64_t ino;
	bool existed;
	UT_hash_handle hh;
};

struct link {
	char *path, *from;
	struct link *next;
};

struct archive_import {
	struct import *import;
	struct archive_in *in;
	uint64_t file_size; /* of the archive; 0: a stream */

	pthread_mutex_t adding; /* one at a time adds; taken after `reading` */
	pthread_mutex_t reading; /* guards `in` and all below */
	bool ended;
	char *last; /* the member that was last read wholly */
	struct known_dir *dirs;
	struct link *links, **links_end;
};

/* --- names --- */

/* The path in its plain form ("a/b"), "" for the top; NULL, and why, for one that may not be followed. */
static char *plain_path(const char *path, const char **ret_why)
{
	char *plain = xmalloc(strlen(path) + 1), *out = plain;
	const char *at = path;

	*ret_why = !*path ? "its name is empty" : *path == '/' ? "its name is absolute" : NULL;
	while (*at && !*ret_why) {
		size_t len = strcspn(at, "/");

		if (len == 2 && memcmp(at, "..", 2) == 0)
			*ret_why = "its name leads out of the archive";
		else if (len > NAME_LEN_MAX)
			*ret_why = "its name is too long";
		else if (len > 0 && !(len == 1 && *at == '.')) {
			if (out > plain)
				*out++ = '/';
			memcpy(out, at, len);
			out += len;
		}
		at += len;
		at += strspn(at, "/");
	}
	*out = '\0';
	if (*ret_why) {
		free(plain);
		return NULL;
	}
	return plain;
}

static struct known_dir *remember_dir(struct archive_import *archive, const char *path, uint64_t ino, bool existed)
{
	struct known_dir *dir = xcalloc(1, sizeof(*dir));

	*dir = (struct known_dir){.path = xstrdup(path), .ino = ino, .existed = existed};
	HASH_ADD_KEYPTR(hh, archive->dirs, dir->path, strlen(dir->path), dir);
	return dir;
}

static struct known_dir *find_dir(struct archive_import *archive, const char *path, size_t len)
{
	struct known_dir *dir;

	HASH_FIND(hh, archive->dirs, path, len, dir);
	return dir;
}

/* The directory of that path, made with those above it where the archive has not named them. NULL: the problem was told. */
static struct known_dir *need_dir(struct archive_import *archive, const char *path)
{
	struct import *import = archive->import;
	struct known_dir *dir = find_dir(archive, "", 0);
	size_t len = strlen(path), end = 0;

	if (len == 0)
		return dir;
	while (end < len && dir) {
		size_t first = end + (end > 0);
		struct known_dir *next;

		end = first + strcspn(path + first, "/");
		next = find_dir(archive, path, end);
		if (!next) {
			AUTO_FREE char *whole = xasprintf("%.*s", (int)end, path);
			AUTO_FREE char *above = xasprintf("%.*s", (int)(first ? first - 1 : 0), path);
			struct member member = {.dir_path = above, .name = whole + first, .dir = dir->ino, .mode = S_IFDIR | MADE_MODE,
			                        .uid = import->transfer.options->uid, .gid = import->transfer.options->gid};
			struct attr attr;
			uint64_t ino;
			bool existed;

			/* What is there and was not named keeps its attributes. */
			if (dir->existed && view_lookup(import->view, dir->ino, member.name, &attr) == 0 && S_ISDIR(attr.mode))
				next = remember_dir(archive, whole, attr.ino, true);
			else if (member_accept(import, &member) && import_directory(import, &member, &ino, &existed) == 0)
				next = remember_dir(archive, whole, ino, existed);
		}
		dir = next;
	}
	return dir;
}

/* --- members; `reading` is held --- */

static void add_xattr(void *arg, const char *name, const void *value, size_t len)
{
	if (strlen(name) > 0 && strlen(name) <= NAME_LEN_MAX && len <= XATTR_VALUE_MAX)
		xattrs_add(arg, name, value, len);
}

static void damaged(struct archive_import *archive, const char *within)
{
	AUTO_FREE char *in = within ? xasprintf(", in member %s", within) : xstrdup("");
	AUTO_FREE char *after = archive->last ? xasprintf("after member %s", archive->last) : xstrdup("at its first member");

	if (transfer_stopped(&archive->import->transfer))
		return;
	transfer_fail(&archive->import->transfer, -EBADMSG, "%s is damaged %s%s: %s; what came before is complete",
	              archive->import->options->source, after, in, archive_in_problem(archive->in));
}

/* Small content into the batch; false when the archive is damaged. */
static bool take_small(struct archive_import *archive, struct batch *batch, struct member *member)
{
	uint8_t *room = batch_room(batch, member->size);
	const void *data;
	uint64_t offset;
	size_t len;
	int r;

	if (!room)
		return true;
	memset(room, 0, member->size);
	while ((r = archive_in_data(archive->in, &data, &len, &offset)) == 1) {
		if (offset > member->size || len > member->size - offset)
			return false;
		memcpy(room + offset, data, len);
	}
	if (r == 0)
		batch_add(batch, member, member->size);
	return r == 0;
}

static bool take_big(struct archive_import *archive, struct batch *batch, struct member *member, bool has_size)
{
	struct transfer *transfer = &archive->import->transfer;
	struct inode *inode;
	const void *data;
	uint64_t offset, end = 0;
	size_t len;
	int r, written = 0;

	pthread_mutex_lock(&archive->adding);
	batch_flush(batch);
	pthread_mutex_unlock(&archive->adding);
	if (stream_begin(archive->import, member, &inode) < 0)
		return true;
	while ((r = archive_in_data(archive->in, &data, &len, &offset)) == 1 && written == 0) {
		written = transfer_stopped(transfer) ? -ECANCELED : inode_write(inode, offset, data, len, 0);
		end = MAX(end, offset + len);
		atomic_fetch_add(&transfer->bytes, len);
	}
	if (!has_size)
		member->size = end;
	if (r >= 0 && written < 0)
		transfer_store_result(transfer, member->dir_path, member->name, written);
	stream_end(archive->import, member, inode, r < 0 ? r : written);
	return r >= 0;
}

static void note_link(struct archive_import *archive, const char *path, const char *from)
{
	struct link *link = xcalloc(1, sizeof(*link));

	*link = (struct link){.path = xstrdup(path), .from = xstrdup(from)};
	*archive->links_end = link;
	archive->links_end = &link->next;
}

static void take_directory(struct archive_import *archive, struct member *member, const char *path)
{
	struct known_dir *known = find_dir(archive, path, strlen(path));
	uint64_t ino;
	bool existed;

	if (known) {
		import_directory_attributes(archive->import, member, known->ino);
		atomic_fetch_add(&archive->import->transfer.directories, known->ino != archive->import->root);
		ino = known->ino;
	} else if (import_directory(archive->import, member, &ino, &existed) == 0) {
		remember_dir(archive, path, ino, existed);
	} else {
		return;
	}
	import_directory_done(archive->import, ino, member->atime, member->mtime);
}

/* Splits "a/b/c" at its last slash. */
static const char *split(char *path, const char **ret_dir)
{
	char *slash = strrchr(path, '/');

	*ret_dir = slash ? path : "";
	if (slash)
		*slash = '\0';
	return slash ? slash + 1 : path;
}

/* What the archive says of a member that is not a link. False: it is damaged. */
static bool take_member(struct archive_import *archive, struct batch *batch, const struct archive_member *found, const char *path)
{
	struct import *import = archive->import;
	AUTO_FREE char *copy = xstrdup(path);
	struct member member = {.mode = found->mode, .uid = found->uid, .gid = found->gid, .rdev = found->rdev, .size = found->size,
	                        .target = found->target, .mtime = found->mtime, .atime = found->has_atime ? found->atime : found->mtime};
	struct known_dir *dir;
	bool sound = true;

	member.name = split(copy, &member.dir_path);
	dir = need_dir(archive, member.dir_path);
	if (!dir)
		return true;
	member.dir = dir->ino;
	member.dir_existed = dir->existed;
	if (*path && !member_accept(import, &member))
		return true;
	archive_in_xattrs(archive->in, add_xattr, &member.xattrs);
	if (S_ISDIR(member.mode)) {
		take_directory(archive, &member, path);
	} else if (!S_ISREG(member.mode)) {
		if (!member_is_there(import, &member) && batch_room(batch, 0))
			batch_add(batch, &member, 0);
	} else if (!found->has_size || !member_is_there(import, &member)) {
		bool small = found->has_size && !found->has_holes && member.size <= MIN(IMPORT_PIECE, import->batch_bytes);

		sound = small ? take_small(archive, batch, &member) : take_big(archive, batch, &member, found->has_size);
	}
	xattrs_clear(&member.xattrs);
	return sound;
}

/* One member; false when no more can be read. */
static bool take_next(struct archive_import *archive, struct batch *batch)
{
	struct transfer *transfer = &archive->import->transfer;
	struct archive_member found;
	AUTO_FREE char *path = NULL, *from = NULL;
	const char *why = NULL;
	int r = archive_in_next(archive->in, &found);

	if (r < 0)
		damaged(archive, NULL);
	if (r <= 0 || transfer_stopped(transfer))
		return false;
	if (found.path)
		path = plain_path(found.path, &why);
	else
		why = "its name cannot be read";
	if (path && found.hardlink)
		from = plain_path(found.hardlink, &why);
	if (path && !*path && !S_ISDIR(found.mode))
		why = "its name is empty";
	if (why) {
		transfer_problem(transfer, "", found.path ? found.path : "?", -EINVAL, why);
		return true;
	}
	if (found.hardlink) {
		note_link(archive, path, from);
	} else if (!take_member(archive, batch, &found, path)) {
		damaged(archive, path);
		return false;
	}
	free(archive->last);
	archive->last = steal_ptr(path);
	if (archive->file_size > 0 && archive_in_bytes(archive->in) > 0)
		atomic_store(&transfer->total, (uint64_t)((double)(atomic_load(&transfer->bytes) + atomic_load(&transfer->skipped_bytes)) * (double)archive->file_size /
		                                          (double)archive_in_bytes(archive->in)));
	return true;
}

static void archive_main(void *arg)
{
	struct archive_import *archive = arg;
	struct batch *batch = batch_new(archive->import);
	bool ended = false;

	while (!ended) {
		pthread_mutex_lock(&archive->reading);
		while (!archive->ended && !batch_is_full(batch))
			archive->ended = !take_next(archive, batch);
		ended = archive->ended;
		pthread_mutex_lock(&archive->adding);
		pthread_mutex_unlock(&archive->reading);
		batch_flush(batch);
		pthread_mutex_unlock(&archive->adding);
	}
	batch_free(batch);
}

/* --- the whole --- */

static void make_link(struct archive_import *archive, struct link *link)
{
	const char *dir_path, *from_dir_path;
	struct member member = {.mode = S_IFREG};
	const char *from_name = split(link->from, &from_dir_path);
	struct known_dir *dir, *from;

	member.name = split(link->path, &dir_path);
	member.dir_path = dir_path;
	dir = need_dir(archive, dir_path);
	from = dir ? need_dir(archive, from_dir_path) : NULL;
	if (!from)
		return;
	member.dir = dir->ino;
	if (member_accept(archive->import, &member))
		import_link(archive->import, &member, from->ino, from_name);
}

/* Also where the archive turned out damaged: what came before is complete. */
static void make_links(struct archive_import *archive)
{
	struct error *failure = &archive->import->transfer.failure;

	while (archive->links) {
		struct link *link = archive->links;

		archive->links = link->next;
		if (failure->code == 0 || failure->code == -EBADMSG)
			make_link(archive, link);
		free(link->path);
		free(link->from);
		free(link);
	}
}

static void forget_dirs(struct archive_import *archive)
{
	struct known_dir *dir, *next;

	HASH_ITER(hh, archive->dirs, dir, next) {
		HASH_DEL(archive->dirs, dir);
		free(dir->path);
		free(dir);
	}
}

static bool is_stopped(void *arg)
{
	struct import *import = arg;

	if (import->opening)
		transfer_tell(&import->transfer, "wait");
	return transfer_stopped(&import->transfer);
}

int import_archive_open(struct import *import, int fd, struct error *err)
{
	struct error why = {0};
	int r;

	import->opening = true;
	r = archive_in_new(fd, is_stopped, import, &import->archive, &why);
	import->opening = false;
	if (transfer_stopped(&import->transfer))
		return error_set(err, -ECANCELED, "cancelled");
	return r < 0 ? error_set(err, r, "%s: %s", import->options->source, why.text) : 0;
}

void import_archive(struct import *import, int fd)
{
	struct archive_import archive = {.import = import, .in = import->archive, .links_end = &archive.links};
	transfer_fn functions[THREADS] = {archive_main, archive_main};
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		archive.file_size = (uint64_t)st.st_size;
	pthread_mutex_init(&archive.adding, NULL);
	pthread_mutex_init(&archive.reading, NULL);
	remember_dir(&archive, "", import->root, true);
	transfer_run(&import->transfer, functions, THREADS, &archive);
	make_links(&archive);
	forget_dirs(&archive);
	free(archive.last);
	pthread_mutex_destroy(&archive.reading);
	pthread_mutex_destroy(&archive.adding);
}
