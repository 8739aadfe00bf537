#include "lib/transfer/export_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/records/extent.h"

#define STRETCHES_MAX (256U << 10)

static int load_xattrs(struct export *export, uint64_t ino, struct extras *extras)
{
	AUTO_BUF list = BUF_INIT;
	int r = view_xattr_list(export->view, ino, &list);

	for (size_t at = 0; r == 0 && at < list.len; at += strlen((char *)list.data + at) + 1) {
		const char *name = (const char *)list.data + at;
		AUTO_BUF value = BUF_INIT;

		r = view_xattr_get(export->view, ino, name, &value);
		if (r == -ENODATA) {
			r = 0;
			continue;
		}
		array_add(&extras->xattrs, (struct archive_xattr){.name = xstrdup(name), .value = value.data ? value.data : (uint8_t *)xstrdup(""),
		                                            .len = value.len});
		value = BUF_INIT;
	}
	return r;
}

/* Half of the holes become zeros, every second one, so that a file of very many holes takes no more memory than others. */
static void fill_holes(struct extras *extras)
{
	size_t kept = 0;

	for (size_t i = 0; i < extras->data.count; i += 2) {
		struct archive_stretch *to = &extras->data.items[kept++];
		const struct archive_stretch *last = &extras->data.items[MIN(i + 1, extras->data.count - 1)];

		*to = extras->data.items[i];
		to->len = last->offset + last->len - to->offset;
	}
	extras->data.count = kept;
}

/* Whole blocks: GNU tar expects that stretches begin and end with them. */
static int add_stretch(void *arg, const struct extent *extent)
{
	struct extras *extras = arg;
	struct archive_stretch *last = extras->data.count ? array_last(&extras->data) : NULL;
	uint64_t first = hole_last(extent->offset), end = hole_first(extent_end(extent));

	if (extent->record.chunk == CHUNK_NONE)
		return 0;
	if (last && last->offset + last->len >= first) {
		last->len = end - last->offset;
		return 0;
	}
	if (extras->data.count == STRETCHES_MAX)
		fill_holes(extras);
	array_add(&extras->data, (struct archive_stretch){.offset = first, .len = end - first});
	return 0;
}

/* Where a file has data, if not everywhere. The last stretch may end beyond `size`, and is cut. */
static int load_stretches(struct export *export, const struct attr *attr, struct extras *extras)
{
	int r = view_check_holes(export->view, attr->ino);

	if (r == 0)
		r = view_extents(export->view, attr->ino, add_stretch, extras);
	/* Inline content is in no extent. Neither is there data where a few zeros are allocated, but they can be read. */
	if (extras->data.count == 0 && attr->allocated > 0 && attr->allocated <= INLINE_MAX)
		array_add(&extras->data, (struct archive_stretch){.len = HOLE_BLOCK});
	while (extras->data.count > 0 && array_last(&extras->data)->offset >= attr->size)
		extras->data.count--;
	if (extras->data.count > 0) {
		struct archive_stretch *last = array_last(&extras->data);
		last->len = MIN(last->len, attr->size - last->offset);
	}
	extras->has_holes = true;
	return r;
}

static int extras_load(struct export *export, const struct attr *attr, struct extras *extras)
{
	int r = load_xattrs(export, attr->ino, extras);

	if (r == 0 && S_ISLNK(attr->mode))
		r = view_readlink(export->view, attr->ino, &extras->target);
	if (r == 0 && S_ISREG(attr->mode) && attr->allocated < attr->size)
		r = load_stretches(export, attr, extras);
	return r;
}

static void extras_clear(struct extras *extras)
{
	for (size_t i = 0; i < extras->xattrs.count; i++) {
		free((char *)extras->xattrs.items[i].name);
		free((void *)extras->xattrs.items[i].value);
	}
	array_clear(&extras->xattrs);
	array_clear(&extras->data);
	buf_clear(&extras->target);
	*extras = (struct extras){0};
}

/*
 * What is buffered is in no extent yet: where it is would be taken for a hole. What is written after the commit is not in the map of extents
 * either, and shows in the time, which is that from before.
 */
static int commit_item(struct item *item)
{
	struct attr before;
	int r;

	inode_attr(item->inode, &before);
	r = inode_commit(item->inode);
	if (r == 0)
		r = fault_point("export-after-commit");
	inode_attr(item->inode, &item->attr);
	item->attr.mtime = before.mtime;
	return r;
}

int item_open(struct export *export, uint64_t ino, struct item *item)
{
	int r;

	*item = (struct item){0};
	r = view_getattr(export->view, ino, &item->attr);
	if (r < 0 || !S_ISREG(item->attr.mode))
		return r < 0 ? r : extras_load(export, &item->attr, &item->extras);
	r = inode_open(export->view, ino, &item->inode);
	if (r == 0 && view_read_only(export->view))
		inode_attr(item->inode, &item->attr);
	else if (r == 0)
		r = commit_item(item);
	return r < 0 ? r : extras_load(export, &item->attr, &item->extras);
}

bool item_changed(struct export *export, const struct item *item)
{
	struct attr now;

	if (!item->inode || view_read_only(export->view))
		return false;
	inode_attr(item->inode, &now);
	return now.size != item->attr.size || now.mtime.tv_sec != item->attr.mtime.tv_sec ||
	       now.mtime.tv_nsec != item->attr.mtime.tv_nsec;
}

void item_close(struct item *item)
{
	if (item->inode)
		inode_close(item->inode);
	extras_clear(&item->extras);
	*item = (struct item){0};
}

const struct archive_xattr *extras_xattr(const struct extras *extras, const char *name)
{
	for (size_t i = 0; i < extras->xattrs.count; i++)
		if (strcmp(extras->xattrs.items[i].name, name) == 0)
			return &extras->xattrs.items[i];
	return NULL;
}

static int read_stretch(struct export *export, const struct item *item, uint64_t first, uint64_t end, uint8_t *piece, item_fn each,
			void *arg)
{
	int r = 0;

	while (r == 0 && first < end) {
		ssize_t got = transfer_stopped(&export->transfer) ? -ECANCELED
		                                                  : inode_read(item->inode, first, MIN(end - first, EXPORT_PIECE), piece);

		/* Shorter than it was: somebody writes to it. */
		if (got <= 0)
			return got < 0 ? (int)got : -EAGAIN;
		r = each(arg, piece, (size_t)got, first);
		first += (uint64_t)got;
		atomic_fetch_add(&export->transfer.bytes, (uint64_t)got);
	}
	return r;
}

int item_read(struct export *export, const struct item *item, uint8_t *piece, item_fn each, void *arg)
{
	const struct extras *extras = &item->extras;
	int r = 0;

	if (!extras->has_holes)
		return read_stretch(export, item, 0, item->attr.size, piece, each, arg);
	for (size_t i = 0; i < extras->data.count && r == 0; i++) {
		const struct archive_stretch *data = &extras->data.items[i];
		r = read_stretch(export, item, data->offset, data->offset + data->len, piece, each, arg);
	}
	return r;
}
