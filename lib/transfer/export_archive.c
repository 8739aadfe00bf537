/* An archive as a target: one thread, members in the order of names, each directory before what is in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/transfer/export_parts.h"

struct linked {
	uint64_t ino;
	char *path;
	UT_hash_handle hh;
};

struct archive_export {
	struct export *export;
	struct archive_out *out;
	struct linked *links;
	uint8_t *piece, *zeros;
	int fd;
};

struct writing {
	struct archive_export *archive;
	uint64_t at; /* so much was given to the archive */
};

/* --- members --- */

static int write_zeros(struct writing *writing, uint64_t until)
{
	int r = 0;

	while (r == 0 && writing->at < until) {
		size_t len = MIN(until - writing->at, EXPORT_PIECE);

		if (transfer_stopped(&writing->archive->export->transfer))
			return -ECANCELED;
		r = archive_out_data(writing->archive->out, writing->archive->zeros, len);
		writing->at += len;
	}
	return r;
}

static int write_piece(void *arg, const void *data, size_t len, uint64_t offset)
{
	struct writing *writing = arg;
	int r = write_zeros(writing, offset);

	if (r == 0)
		r = archive_out_data(writing->archive->out, data, len);
	writing->at += len;
	return r;
}

/* What is begun must be ended with as many bytes as were promised: a file that changes or cannot be read ends the archive. */
static void write_content(struct archive_export *archive, const char *path, const struct attr *attr, const struct extras *extras)
{
	struct export *export = archive->export;
	struct writing writing = {.archive = archive};
	struct inode *inode;
	int r = inode_open(export->view, attr->ino, &inode);

	if (r == 0) {
		r = content_read(export, inode, attr->size, extras, archive->piece, write_piece, &writing);
		if (r == 0)
			r = write_zeros(&writing, attr->size);
		inode_close(inode);
	}
	if (r == -EAGAIN)
		transfer_fail(&export->transfer, r, "%s changed while it was read; export a snapshot", path);
	else if (r < 0)
		transfer_fail(&export->transfer, r, "%s: %s", path, strerror(-r));
}

/* The path under which the file stands in the archive already; NULL: it is new, and noted if it has several names. */
static const char *find_first(struct archive_export *archive, const char *path, const struct attr *attr)
{
	struct linked *linked;

	if (attr->nlink < 2 || S_ISDIR(attr->mode))
		return NULL;
	HASH_FIND(hh, archive->links, &attr->ino, sizeof(attr->ino), linked);
	if (linked)
		return linked->path;
	linked = xcalloc(1, sizeof(*linked));
	linked->ino = attr->ino;
	linked->path = xstrdup(path);
	HASH_ADD(hh, archive->links, ino, sizeof(linked->ino), linked);
	return NULL;
}

static int put_member(struct archive_export *archive, const char *path, const struct attr *attr, const struct extras *extras,
		      const char *hardlink)
{
	struct archive_extra extra = {.xattrs = extras->xattrs, .xattr_count = extras->xattr_count, .data = extras->data,
	                              .data_count = extras->data_count};
	struct archive_stretch hole = {.offset = attr->size, .len = 0};
	struct archive_member member = {.path = path, .hardlink = hardlink, .mode = attr->mode, .uid = attr->uid, .gid = attr->gid,
	                                .rdev = attr->rdev, .size = S_ISREG(attr->mode) && !hardlink ? attr->size : 0,
	                                .mtime = attr->mtime, .atime = attr->atime,
	                                .target = S_ISLNK(attr->mode) ? (const char *)extras->target.data : NULL};

	if (extras->has_holes && extras->data_count == 0) {
		extra.data = &hole;
		extra.data_count = 1;
	}
	if (hardlink)
		extra = (struct archive_extra){0};
	return archive_out_member(archive->out, &member, &extra);
}

static void write_member(struct archive_export *archive, const char *path, const struct attr *attr)
{
	struct transfer *transfer = &archive->export->transfer;
	const char *first = find_first(archive, path, attr);
	struct extras extras = {0};
	int r = extras_load(archive->export, attr, &extras);

	if (r == 0)
		r = put_member(archive, path, attr, &extras, first);
	if (r == -EOPNOTSUPP && first) {
		first = NULL;
		r = put_member(archive, path, attr, &extras, NULL);
	}
	if (r == -EOPNOTSUPP)
		transfer_problem(transfer, "", path, r, "this format has no such files or names");
	else if (r < 0)
		transfer_fail(transfer, r, "%s: %s", path, archive_out_problem(archive->out));
	else if (S_ISREG(attr->mode) && !first)
		write_content(archive, path, attr, &extras);
	if (r == 0)
		atomic_fetch_add(S_ISDIR(attr->mode) ? &transfer->directories : first ? &transfer->links : &transfer->files, 1);
	extras_clear(&extras);
}

static void walk(struct archive_export *archive, const char *path, uint64_t dir)
{
	struct export *export = archive->export;
	struct names names = {0};
	int r = names_load(export, dir, &names);

	if (r < 0)
		transfer_problem(&export->transfer, path, "", r, NULL);
	for (size_t i = 0; i < names.count && !transfer_stopped(&export->transfer); i++) {
		AUTO_FREE char *below = xasprintf("%s/%s", path, names.items[i].text);
		struct attr attr;

		r = view_getattr(export->view, names.items[i].ino, &attr);
		if (r < 0) {
			transfer_problem(&export->transfer, "", below, r, NULL);
			continue;
		}
		write_member(archive, below, &attr);
		if (S_ISDIR(attr.mode))
			walk(archive, below, attr.ino);
	}
	names_clear(&names);
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void archive_main(void *arg)
{
	struct archive_export *archive = arg;
	struct export *export = archive->export;

	/* A single file is a member by its own name. */
	if (S_ISDIR(export->top.mode)) {
		write_member(archive, ".", &export->top);
		atomic_fetch_sub(&export->transfer.directories, 1);
		walk(archive, ".", export->top.ino);
	} else {
		write_member(archive, last_name(export->options->path), &export->top);
	}
	if (!transfer_stopped(&export->transfer)) {
		int r = archive_out_done(archive->out);

		if (r < 0)
			transfer_fail(&export->transfer, r, "%s: %s", export->options->target, archive_out_problem(archive->out));
	}
}

/* --- the whole --- */

/* Where the archive begins in a file; -1: what is written stays written. */
static off_t begin_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? lseek(fd, 0, SEEK_CUR) : -1;
}

/* On disk, or not at all. */
static void finish(struct archive_export *archive, off_t begin)
{
	struct transfer *transfer = &archive->export->transfer;

	transfer_tell(transfer, "sync");
	if (begin >= 0 && !transfer_stopped(transfer) && fsync(archive->fd) < 0)
		transfer_fail(transfer, -errno, "%s: %s", archive->export->options->target, strerror(errno));
	if (!transfer_stopped(transfer))
		return;
	if (begin >= 0 && ftruncate(archive->fd, begin) == 0 && lseek(archive->fd, begin, SEEK_SET) == begin)
		return;
	/* Whoever asks again would add a second archive to half of a first one. */
	if (transfer->failure.code == -ECANCELED)
		transfer->failure.code = -EINTR;
}

static void forget_links(struct archive_export *archive)
{
	struct linked *linked, *next;

	HASH_ITER(hh, archive->links, linked, next) {
		HASH_DEL(archive->links, linked);
		free(linked->path);
		free(linked);
	}
}

int export_archive(struct export *export, struct error *err)
{
	struct archive_export archive = {.export = export, .fd = export->options->target_fd};
	const off_t begin = begin_of(archive.fd);
	transfer_fn function = archive_main;
	int r = archive_out_new(archive.fd, export->options->format, &archive.out, err);

	if (r < 0)
		return r;
	archive.piece = xmalloc(EXPORT_PIECE);
	archive.zeros = xcalloc(1, EXPORT_PIECE);
	transfer_run(&export->transfer, &function, 1, &archive);
	archive_out_free(archive.out);
	finish(&archive, begin);
	forget_links(&archive);
	free(archive.piece);
	free(archive.zeros);
	return 0;
}
