#include "lib/backup/restore_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "lib/backup/restore_attributes.h"
#include "lib/base/direct_file.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/tree/files/acl.h"

#define NAME_ROOM 64
#define TOKEN_DIGITS 16
#define ZEROS_PIECE 65536U
/* Files of so many bytes are written past the page cache: they would take others' pages, and nobody reads them soon. */
#define DIRECT_MIN (1U << 20)

/* --- names of files in the making --- */

static void temporary_name(const struct restore_target *target, char out[NAME_ROOM])
{
	(void)snprintf(out, NAME_ROOM, RESTORE_TEMPORARY "%016" PRIx64 "-%02u", target->token, target->number);
}

static bool is_temporary(const char *name)
{
	const size_t len = strlen(RESTORE_TEMPORARY);

	return strlen(name) == len + TOKEN_DIGITS + 3 && strncmp(name, RESTORE_TEMPORARY, len) == 0 &&
	       strspn(name + len, "0123456789abcdef") == TOKEN_DIGITS && name[len + TOKEN_DIGITS] == '-' &&
	       strspn(name + len + TOKEN_DIGITS + 1, "0123456789") == 2;
}

void restore_remove_temporaries(int dir)
{
	DIR *entries = file_entries(dir);
	const char *name;

	while (entries && file_next_entry(entries, &name) == 1)
		if (is_temporary(name))
			(void)unlinkat(dir, name, 0);
	if (entries)
		closedir(entries);
}

/* The name still stands for what was made under it: nobody else has removed it, and made something there. */
static bool is_made(const struct restore_file *file, const char *name, int made)
{
	struct stat ours, there;

	return fstat(made, &ours) == 0 && fstatat(file->dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino;
}

/* --- content --- */

static bool is_of_one_blob(const struct restore_file *file)
{
	return file->node->content.count == 1 && file->node->size <= CONTENT_PLAIN_MAX && file->holes->count == 0;
}

/* If the digest is wanted and costs anything: of one blob it is the blob's name, where nothing more enters. */
static struct content_watch watch(struct restore_target *target, const struct restore_file *file)
{
	struct content_watch watch = {0};

	if (target->digest && !is_of_one_blob(file))
		content_watch_begin(&watch, target->digest, file->node->size);
	return watch;
}

/* All of it went by; or not, and then nothing is known. */
static void watched_all(struct restore_target *target, const struct restore_file *file, struct content_watch *watch, bool all)
{
	const bool is_watched = watch->is_on;
	bool is_sparse;

	target->seen->is_known = content_watch_end(watch, all, target->seen->digest, &is_sparse);
	if (is_watched || !all || !target->digest)
		return;
	target->seen->is_known = true;
	memcpy(target->seen->digest, file->node->content.items[0].bytes, DIGEST_LEN);
}

/* No zeros are left out of it, and it is the SHA-256 of its bytes. */
static bool is_short(const struct restore_file *file)
{
	return file->node->size <= CONTENT_PLAIN_MAX && file->holes->count == 0;
}

void restore_target_hash(struct restore_target *target)
{
	if (target->streams)
		digest_streams_run(target->streams);
}

/* The next `len` bytes are those of the blob. */
static bool has_blob(int fd, const struct blob_id *id, uint32_t len, struct buf *room)
{
	struct blob_id found;

	buf_reset(room);
	buf_reserve(room, len);
	if (file_read_all(fd, room->data, len) < 0)
		return false;
	found = blob_id_of(room->data, len);
	return blob_id_equal(&found, id);
}

/* The backup has a hole there, and so has the file, which is passed over then. `at`: the hole of the backup that comes next. */
static bool pass_hole(const struct restore_file *file, int fd, uint64_t offset, uint32_t len, size_t *at)
{
	const struct holes *holes = file->holes;
	off_t data;

	while (*at < holes->count && holes->items[*at].offset + holes->items[*at].length <= offset)
		++*at;
	if (*at == holes->count || holes->items[*at].offset > offset || offset + len > holes->items[*at].offset + holes->items[*at].length)
		return false;
	data = lseek(fd, (off_t)offset, SEEK_DATA);
	if (data < 0 ? errno == ENXIO : (uint64_t)data >= offset + len)
		return lseek(fd, (off_t)(offset + len), SEEK_SET) >= 0;
	(void)lseek(fd, (off_t)offset, SEEK_SET);
	return false;
}

static bool has_zeros(int fd, uint64_t first, uint64_t end, struct buf *room)
{
	while (first < end) {
		const size_t len = (size_t)MIN(end - first, ZEROS_PIECE);
		ssize_t got;

		buf_reset(room);
		buf_reserve(room, len);
		got = pread(fd, room->data, len, (off_t)first);
		if (got <= 0 || !bytes_are_zeros(room->data, (size_t)got))
			return false;
		first += (uint64_t)got;
	}
	return true;
}

/* Zeros may stand where a hole does not end with a block. */
static bool has_hole(int fd, uint64_t first, uint64_t end, struct buf *room)
{
	while (first < end) {
		const off_t data = lseek(fd, (off_t)first, SEEK_DATA);
		const off_t behind = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

		if (data < 0 ? errno == ENXIO : (uint64_t)data >= end)
			break;
		if (behind <= data || !has_zeros(fd, (uint64_t)data, MIN((uint64_t)behind, end), room))
			return false;
		first = (uint64_t)behind;
	}
	return lseek(fd, (off_t)end, SEEK_SET) >= 0;
}

/* The content has no blobs for the holes that come now. */
static bool pass_left_out(const struct restore_file *file, int fd, struct buf *room, uint64_t *offset, size_t *at)
{
	const struct holes *holes = file->holes;

	while (holes->left_out && *at < holes->count && holes->items[*at].offset == *offset) {
		const uint64_t end = *offset + holes->items[(*at)++].length;

		if (!has_hole(fd, *offset, end, room))
			return false;
		*offset = end;
	}
	return true;
}

/*
 * Size and time of a file stay when its disk or somebody changes its bytes, so all of it but holes is read, as restic does. Its attributes may be others: who
 * restored it may have been a user, who could not set them, or somebody has changed them since.
 */
static bool has_content(struct restore_target *target, const struct restore_file *file)
{
	const struct node *node = file->node;
	AUTO_CLOSE int fd = openat(file->dir, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO_BUF room = BUF_INIT;
	struct content_watch watched = watch(target, file);
	size_t hole = 0;
	uint64_t size = 0;
	bool same = fd >= 0 && restore_attributes_take(target, fd, node);

	for (size_t i = 0; i < node->content.count && same && !transfer_stopped(target->transfer); i++) {
		const struct blob_id *id = &node->content.items[i];
		struct blob_place place;
		uint32_t len;

		same = pass_left_out(file, fd, &room, &size, &hole) && blob_index_find(target->reader.repository->index, id, false, 0, &place);
		len = same ? pack_blob_plain(&place.blob) : 0;
		if (same && (file->holes->left_out || !pass_hole(file, fd, size, len, &hole))) {
			same = has_blob(fd, id, len, &room);
			if (same)
				content_watch_data(&watched, room.data, len, size);
		}
		size += same ? len : 0;
	}
	same = same && pass_left_out(file, fd, &room, &size, &hole) && size == node->size;
	same = same && restore_attributes_set(target, fd, file->path, node) == 0 && (!file->sync || fsync(fd) == 0);
	watched_all(target, file, &watched, same);
	return same;
}

static bool is_there(struct restore_target *target, const struct restore_file *file)
{
	const struct node *node = file->node;
	struct stat st;

	return S_ISREG(node->mode) && fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == node->size && st.st_mtim.tv_sec == node->mtime.tv_sec && st.st_mtim.tv_nsec == node->mtime.tv_nsec &&
	       has_content(target, file);
}

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t put = pwrite(fd, data, len, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		data += put;
		offset += (uint64_t)put;
		len -= (size_t)put;
	}
	return 0;
}

static bool goes_directly(struct restore_target *target, int fd, const struct restore_file *file)
{
	return file->node->size >= DIRECT_MIN && file->holes->count == 0 && direct_file_over(fd, &target->direct) == 0;
}

static int damaged(struct restore_target *target, const char *text)
{
	(void)error_set(&target->damage, -EBADMSG, "%s", text);
	return 1;
}

static int has_other_length(struct restore_target *target)
{
	return damaged(target, "its content is not as long as the backup says");
}

static int unreadable(struct restore_target *target, int code)
{
	struct repository *repository = target->reader.repository;

	if (code == -ENOENT)
		return damaged(target, "a part of its content is missing in the repository");
	if (code == -EBADMSG)
		return damaged(target, "a part of its content is damaged in the repository");
	if (restore_content_is_damage(repository, code))
		return damaged(target, "a part of its content cannot be read in the repository");
	(void)objects_failed(repository->objects, code, "its content cannot be read", &target->damage);
	return 1;
}

/* `watched` is NULL: the content goes to the streams. */
static int write_watched(struct restore_target *target, int fd, const struct restore_file *file, struct content_watch *watched)
{
	struct restore_content content = {.node = file->node, .holes = file->holes};
	const uint64_t size = file->node->size;
	struct direct_file *direct = goes_directly(target, fd, file) ? target->direct : NULL;
	const void *data;
	uint64_t offset;
	size_t len;
	int r;

	while ((r = restore_content_next(&target->reader, &content, &data, &len, &offset)) == 1) {
		if (transfer_stopped(target->transfer))
			return -ECANCELED;
		if (offset > size || len > size - offset)
			return has_other_length(target);
		r = direct ? direct_file_add(direct, data, len) : write_at(fd, data, len, offset);
		if (r < 0)
			return r;
		if (watched)
			content_watch_data(watched, data, len, offset);
		else
			digest_streams_add(target->streams, data, len);
		atomic_fetch_add(&target->transfer->bytes, len);
	}
	if (r < 0)
		return unreadable(target, r);
	if (content.offset != size)
		return has_other_length(target);
	if (direct)
		return direct_file_finish(direct);
	/* What ends with a hole is not written to its end. */
	return file->holes->count > 0 && ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

/* What goes by is hashed later, beside that of other files. */
static int write_short(struct restore_target *target, int fd, const struct restore_file *file)
{
	int r;

	digest_streams_begin(target->streams, target->seen->digest);
	r = write_watched(target, fd, file, NULL);
	if (r == 0)
		digest_streams_end(target->streams);
	else
		digest_streams_drop(target->streams);
	target->seen->is_known = r == 0;
	return r;
}

static int write_content(struct restore_target *target, int fd, const struct restore_file *file)
{
	struct content_watch watched;
	int r;

	if (target->streams && is_short(file) && !is_of_one_blob(file))
		return write_short(target, fd, file);
	watched = watch(target, file);
	r = write_watched(target, fd, file, &watched);
	watched_all(target, file, &watched, r == 0);
	return r;
}

static int write_file(struct restore_target *target, const char *temporary, const struct restore_file *file, int *ret_made)
{
	const int fd = openat(file->dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	*ret_made = fd;
	r = write_content(target, fd, file);
	if (r == 0)
		r = restore_attributes_set(target, fd, file->path, file->node);
	if (r == 0 && file->sync && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* --- others --- */

static void set_xattrs(struct restore_target *target, const char *fd_path, const char *path, const struct node *node)
{
	for (size_t i = 0; i < node->xattrs.count; i++) {
		const struct node_xattr *xattr = &node->xattrs.items[i];

		if (lsetxattr(fd_path, xattr->name, xattr->value, xattr->len, 0) < 0) {
			AUTO_FREE char *text = xasprintf("kept without its extended attribute %s", xattr->name);
			transfer_problem(target->transfer, "", path, -errno, text);
		}
	}
}

static int make_special(struct restore_target *target, const char *temporary, const struct restore_file *file, int *ret_made)
{
	const struct node *node = file->node;
	const struct timespec times[2] = {node->atime, node->mtime};
	AUTO_FREE char *fd_path = xasprintf("/proc/self/fd/%d/%s", file->dir, temporary);
	struct stat st;
	int r = S_ISLNK(node->mode) ? symlinkat(node->target ? node->target : "", file->dir, temporary)
	                            : mknodat(file->dir, temporary, node->mode & (S_IFMT | 0700), node->rdev);

	if (r < 0)
		return -errno;
	*ret_made = openat(file->dir, temporary, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_made < 0)
		return -errno;
	r = fault_point("restore-before-attributes");
	if (r < 0)
		return r;
	if (fchownat(file->dir, temporary, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0 && target->is_root)
		return -errno;
	if (!S_ISLNK(node->mode) && !restore_attributes_has_xattr(node, ACL_ACCESS))
		(void)lremovexattr(fd_path, ACL_ACCESS);
	/* Whoever else may change the directory may have put a link in its place. */
	if (!S_ISLNK(node->mode) && fchmodat(file->dir, temporary, node->mode & 07777, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	set_xattrs(target, fd_path, file->path, node);
	if (utimensat(file->dir, temporary, times, AT_SYMLINK_NOFOLLOW) < 0 || fstat(*ret_made, &st) < 0)
		return -errno;
	restore_attributes_times(target, &st, file->path, node);
	return 0;
}

/* Part by part where the path is longer than a system call takes. */
static int open_beneath(int top, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	AUTO_CLOSE int at = -1;
	int fd;

	while (strlen(path) >= PATH_MAX) {
		const char *slash = memrchr(path, '/', PATH_MAX - 1);
		AUTO_FREE char *part = slash ? xasprintf("%.*s", (int)(slash - path), path) : NULL;

		if (!part)
			return -ENAMETOOLONG;
		fd = (int)syscall(SYS_openat2, at < 0 ? top : at, part, &how, sizeof(how));
		if (fd < 0)
			return -errno;
		if (at >= 0)
			close(at);
		at = fd;
		path = slash + 1;
	}
	fd = (int)syscall(SYS_openat2, at < 0 ? top : at, path, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* The first name was made from the target on, through directories that may be left already. */
static int make_link(const struct restore_target *target, const char *temporary, const struct restore_file *file, int *ret_made)
{
	AUTO_CLOSE int fd = open_beneath(target->top, file->hardlink);
	AUTO_FREE char *fd_path = NULL;

	if (fd < 0)
		return fd;
	fd_path = xasprintf("/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, fd_path, file->dir, temporary, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	*ret_made = fd;
	fd = -1;
	return 0;
}

/* `r`: what became of making it. */
static int give_name(const struct restore_file *file, const char *temporary, int made, int r)
{
	if (r == 0)
		r = fault_point("restore-before-rename");
	if (r == 0 && !is_made(file, temporary, made))
		r = -ESTALE;
	if (r == 0 && renameat(file->dir, temporary, file->dir, file->name) < 0)
		r = -errno;
	else if (r == 0 && !is_made(file, file->name, made))
		r = -ESTALE; /* somebody came between the look and the rename */
	/* Between two names of one file, rename does nothing. */
	if ((r != 0 || file->hardlink) && is_made(file, temporary, made))
		(void)unlinkat(file->dir, temporary, 0);
	return r;
}

int restore_file_make(struct restore_target *target, const struct restore_file *file)
{
	struct transfer *transfer = target->transfer;
	AUTO_CLOSE int made = -1; /* what has the temporary name */
	char temporary[NAME_ROOM];
	int r;

	target->seen->is_known = false;
	if (!file->hardlink && is_there(target, file)) {
		atomic_fetch_add(&transfer->skipped, 1);
		return 0;
	}
	temporary_name(target, temporary);
	if (file->hardlink)
		r = make_link(target, temporary, file, &made);
	else if (S_ISREG(file->node->mode))
		r = write_file(target, temporary, file, &made);
	else
		r = make_special(target, temporary, file, &made);
	r = give_name(file, temporary, made, r);
	if (r == 0)
		atomic_fetch_add(file->hardlink ? &transfer->links : &transfer->files, 1);
	return r;
}
