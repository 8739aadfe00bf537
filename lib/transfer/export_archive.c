#include "lib/transfer/export_archive.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/transfer/acl_format.h"
#include "lib/transfer/trail.h"
#include "lib/transfer/view_walk.h"
#include "lib/tree/files/acl.h"

/* A file with several names, some of which are still to come. */
struct linked {
	uint64_t ino;
	struct trail *dir; /* where its first name is */
	char *name;
	uint32_t left;
	UT_hash_handle hh;
};

struct archive_export {
	struct export *export;
	struct archive_out *out;
	struct linked *links;
	ARRAY(struct trail *) dirs; /* those on the way to where the walk is */
	uint8_t *piece;
	int fd;
};

struct writing {
	struct archive_export *archive;
	uint64_t at; /* so much was given to the archive */
	int failed;  /* what writing the archive gave */
};

/* --- content --- */

static int write_hole(struct writing *writing, uint64_t until)
{
	if (writing->at < until)
		writing->failed = archive_out_hole(writing->archive->out, until - writing->at);
	writing->at = until;
	return writing->failed;
}

static int write_piece(void *arg, const void *data, size_t len, uint64_t offset)
{
	struct writing *writing = arg;
	if (write_hole(writing, offset) == 0)
		writing->failed = archive_out_data(writing->archive->out, data, len);
	writing->at += len;
	return writing->failed;
}

static void tell_unread(struct transfer *transfer, const char *path, int code)
{
	struct error err = {0};

	(void)error_set(&err, code, "%s cannot be read (%s), so the archive is not made", path, error_text(code));
	if (code == -EIO || code == -EBADMSG)
		error_hint(&err, "corpusfs damage names all that is hurt; an export to a directory lists it, and writes the rest");
	transfer_fail_with(transfer, &err);
}

/* What is begun must be ended with as many bytes as were promised: a file that has become shorter or cannot be read ends the archive. */
static void write_content(struct archive_export *archive, const char *path, const struct item *item)
{
	struct transfer *transfer = &archive->export->transfer;
	struct writing writing = {.archive = archive};
	int r = item_read(archive->export, item, archive->piece, write_piece, &writing);

	if (r == 0)
		r = write_hole(&writing, item->attr.size);
	if (r == -EAGAIN)
		transfer_fail(transfer, r, "%s became shorter while it was read; export a snapshot", path);
	else if (r < 0 && writing.failed)
		transfer_fail(transfer, r, "%s: %s", archive->export->options->target, error_text(r));
	else if (r < 0)
		tell_unread(transfer, path, r);
	else if (item_changed(archive->export, item))
		transfer_problem(transfer, "", path, -EAGAIN, "it changed while it was read");
}

/* --- hard links --- */

static struct trail *current_dir(struct archive_export *archive)
{
	return archive->dirs.count > 0 ? *array_last(&archive->dirs) : NULL;
}

static void linked_free(struct archive_export *archive, struct linked *linked)
{
	HASH_DEL(archive->links, linked);
	trail_put(linked->dir);
	free(linked->name);
	free(linked);
}

/* The path under which the file stands in the archive already; NULL: it is new, and noted if it has several names. Freed by the caller. */
static char *find_first(struct archive_export *archive, const char *name, const struct attr *attr)
{
	struct buf path = BUF_INIT;
	struct linked *linked;

	if (attr->nlink < 2 || S_ISDIR(attr->mode))
		return NULL;
	HASH_FIND(hh, archive->links, &attr->ino, sizeof(attr->ino), linked);
	if (!linked) {
		linked = xcalloc(1, sizeof(*linked));
		*linked = (struct linked){.ino = attr->ino, .dir = trail_ref(current_dir(archive)), .name = xstrdup(name), .left = attr->nlink - 1};
		HASH_ADD(hh, archive->links, ino, sizeof(linked->ino), linked);
		return NULL;
	}
	buf_addf(&path, "./");
	trail_add_path(linked->dir, &path);
	buf_addf(&path, "%s", linked->name);
	if (--linked->left == 0)
		linked_free(archive, linked);
	return (char *)path.data;
}

/* --- members --- */

static int put_member(struct archive_export *archive, const char *path, const struct item *item, const char *hardlink)
{
	const struct attr *attr = &item->attr;
	const struct extras *extras = &item->extras;
	const struct archive_xattr *acl = archive_out_keeps_acls(archive->out) ? NULL : extras_xattr(extras, ACL_ACCESS);
	struct archive_extra extra = {.xattrs = extras->xattrs.items, .xattr_count = extras->xattrs.count, .has_holes = extras->has_holes,
	                              .data = extras->data.items, .data_count = extras->data.count};
	struct archive_member member = {.path = path, .hardlink = hardlink, .mode = attr->mode, .uid = attr->uid, .gid = attr->gid,
	                                .rdev = attr->rdev, .size = S_ISREG(attr->mode) && !hardlink ? attr->size : 0,
	                                .mtime = attr->mtime, .atime = attr->atime,
	                                .target = S_ISLNK(attr->mode) ? (const char *)extras->target.data : NULL};

	if (acl)
		member.mode = acl_mode_without(acl->value, acl->len, attr->mode);
	if (hardlink)
		extra = (struct archive_extra){0};
	return archive_out_member(archive->out, &member, &extra);
}

/* Why a format does not hold it. */
static const char *kind_not_held(const struct attr *attr)
{
	switch (attr->mode & S_IFMT) {
	case S_IFIFO: return "a zip holds no fifos; a tar does";
	case S_IFSOCK: return "archives hold no sockets";
	case S_IFCHR:
	case S_IFBLK: return "a zip holds no devices; a tar does";
	default: return "this format does not hold such a file or name";
	}
}

static void put_item(struct archive_export *archive, const char *path, const char *name, struct item *item)
{
	struct transfer *transfer = &archive->export->transfer;
	AUTO_FREE char *first = find_first(archive, name, &item->attr);
	bool is_link = first != NULL;
	int r = put_member(archive, path, item, first);

	if (r == -EOPNOTSUPP && is_link) {
		is_link = false;
		r = put_member(archive, path, item, NULL);
	}
	if (r == -EOPNOTSUPP)
		transfer_problem(transfer, "", path, r, kind_not_held(&item->attr));
	else if (r < 0)
		transfer_fail(transfer, r, "%s: %s", archive->export->options->target, error_text(r));
	if (r < 0)
		return;
	if (archive_out_lost(archive->out))
		transfer_problem(transfer, "", path, -EOPNOTSUPP, archive_out_lost(archive->out));
	if (S_ISREG(item->attr.mode) && !is_link && item->attr.size > 0)
		write_content(archive, path, item);
	atomic_fetch_add(S_ISDIR(item->attr.mode) ? &transfer->directories : is_link ? &transfer->links : &transfer->files, 1);
}

static void write_member(struct archive_export *archive, const char *path, const char *name, uint64_t ino)
{
	struct item item;
	int r = item_open(archive->export, ino, &item);

	if (r < 0)
		transfer_problem(&archive->export->transfer, "", path, r, r == -ESTALE ? "it was removed meanwhile" : NULL);
	else
		put_item(archive, path, name, &item);
	item_close(&item);
}

static void take_step(struct archive_export *archive, const struct view_walk_step *step)
{
	AUTO_FREE char *path = step->kind == VIEW_WALK_LEAVE ? NULL : xasprintf("./%s", step->path);

	switch (step->kind) {
	case VIEW_WALK_ENTER:
		write_member(archive, path, step->name, step->attr.ino);
		array_add(&archive->dirs, trail_new(current_dir(archive), step->name));
		break;
	case VIEW_WALK_FILE: write_member(archive, path, step->name, step->attr.ino); break;
	case VIEW_WALK_LEAVE: trail_put(array_pop(&archive->dirs)); break;
	case VIEW_WALK_FAILED:
		transfer_problem(&archive->export->transfer, "", step->path, step->code,
		                 step->code == -ESTALE ? "it was removed meanwhile" : NULL);
	}
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
	struct view_walk_step step;
	int r;

	/* A single file is a member by its own name. */
	if (S_ISDIR(export->top.mode)) {
		struct view_walk *walk = view_walk_new(export->view, export->top.ino, true);

		write_member(archive, ".", "", export->top.ino);
		atomic_fetch_sub(&export->transfer.directories, 1);
		while (!transfer_stopped(&export->transfer) && view_walk_next(walk, &step))
			take_step(archive, &step);
		view_walk_free(walk);
	} else {
		const char *name = last_name(export->options->path);
		write_member(archive, name, name, export->top.ino);
	}
	if (archive_out_note(archive->out))
		transfer_note(&export->transfer, "%s", archive_out_note(archive->out));
	r = transfer_stopped(&export->transfer) ? 0 : archive_out_done(archive->out);
	if (r < 0)
		transfer_fail(&export->transfer, r, "%s: %s", export->options->target, error_text(r));
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

	HASH_ITER(hh, archive->links, linked, next)
		linked_free(archive, linked);
	while (archive->dirs.count > 0)
		trail_put(array_pop(&archive->dirs));
	array_clear(&archive->dirs);
}

static bool is_stopped(void *arg)
{
	return transfer_stopped(arg);
}

int export_archive(struct export *export, struct error *err)
{
	struct archive_export archive = {.export = export, .fd = export->options->target_fd};
	const off_t begin = begin_of(archive.fd);
	transfer_fn function = archive_main;
	int r = archive_out_new(archive.fd, export->options->format, is_stopped, &export->transfer, &archive.out);

	if (r < 0)
		return r == -ENOMEM ? error_set(err, r, "%s", error_text(r)) : error_set(err, r, "\"%s\" is not a format", export->options->format);
	archive.piece = malloc(EXPORT_PIECE);
	if (!archive.piece) {
		archive_out_free(archive.out);
		return error_set(err, -ENOMEM, "%s", error_text(-ENOMEM));
	}
	transfer_run(&export->transfer, &function, 1, &archive);
	archive_out_free(archive.out);
	finish(&archive, begin);
	forget_links(&archive);
	free(archive.piece);
	return 0;
}
